"""The sorted table of LevelDB, in which TensorFlow keeps the index of a checkpoint: bytes to bytes, in order of keys.

A file is blocks, a block that names them (the table's index), and a footer that names that one. A block is entries
whose keys leave out what they share with the key before, then the places where a key is written in full; after it
come its compression and its checksum. https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ....errors import CheckpointError
from .crc32c import crc32c, masked
from .protobuf_wire import encode_varint, varint
from .snappy import decompress

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # two handles of at most 20 bytes, zeros up to 40, and the magic number
_TRAILER = 5  # bytes after a block: compression, checksum
_PLAIN, _SNAPPY = 0, 1
_FULL_EVERY = 16  # keys, as LevelDB does
_SHOWN = 100  # bytes of a key in a message
_MOST_KEY_BYTES = 64  # for a byte of the file. Google's have 3.5; a made-up file could fill the memory


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of every entry in order, each block checked before anything of it comes out.

    Raises:
        CheckpointError: the bare fact, without a file's name, for whatever is not as the format says.
    """
    if len(data) < _FOOTER:
        raise CheckpointError(f"{len(data)} bytes, an index has at least {_FOOTER}")
    if (magic := int.from_bytes(data[-8:], "little")) != _MAGIC:
        raise CheckpointError(f"it ends in {magic:016x}, an index in {_MAGIC:016x}")
    _, at = _handle(data[-_FOOTER:], 0)
    index, _ = _handle(data[-_FOOTER:], at)
    free = 0
    previous = None
    key_bytes = 0
    for _, value in _entries(_block(data, *index)):
        (offset, size), _ = _handle(value, 0)
        if offset < free:  # also keeps a block from being read twice
            raise CheckpointError(f"a block at byte {offset} overlaps the one before, which ends at {free}")
        free = offset + size + _TRAILER
        for key, entry in _entries(_block(data, offset, size)):
            if previous is not None and key <= previous:
                raise CheckpointError(f"the key {key[:_SHOWN]!r} comes after {previous[:_SHOWN]!r}; keys must rise")
            key_bytes += len(key)
            if key_bytes > _MOST_KEY_BYTES * len(data):
                raise CheckpointError(f"keys of more than {_MOST_KEY_BYTES} times the file's {len(data)} bytes")
            previous = key
            yield key, entry


def write_table(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A table of at least one pair, keys rising. All entries are one block, uncompressed, as TensorFlow writes them."""
    pairs = list(pairs)
    out = bytearray()
    entries = _append_block(out, pairs)
    meta = _append_block(out, [])
    index = _append_block(out, [(pairs[-1][0], entries)])
    return bytes(out + (meta + index).ljust(_FOOTER - 8, b"\0") + _MAGIC.to_bytes(8, "little"))


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> bytes:
    """What is in a block, without its trailer."""
    end = offset + size
    if end + _TRAILER > len(data) - _FOOTER:
        raise CheckpointError(f"a block at bytes {offset} to {end}, but the footer begins at {len(data) - _FOOTER}")
    wanted = int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if (found := masked(crc32c(data[offset : end + 1]))) != wanted:
        raise CheckpointError(f"the block at bytes {offset} to {end} has the checksum {found:08x}, not {wanted:08x}")
    if data[end] == _SNAPPY:
        return decompress(data[offset:end])
    if data[end] != _PLAIN:
        raise CheckpointError(f"the block at bytes {offset} to {end} has the compression {data[end]}, wanted 0 or 1")
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = len(block) - 4 * (int.from_bytes(block[-4:], "little") + 1)  # where the list of full keys begins
    if end < 0:
        raise CheckpointError(f"a block of {len(block)} bytes is shorter than its list of full keys")
    at = 0
    key = b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        value_at = at + own
        if shared > len(key) or value_at + size > end:
            raise CheckpointError(
                f"an entry at byte {at} of a block shares {shared} bytes of {len(key)} and ends beyond"
            )
        key = key[:shared] + block[at:value_at]
        at = value_at + size
        yield key, block[value_at:at]


def _append_block(out: bytearray, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Adds a block and its trailer; gives its handle."""
    begin = len(out)
    full = []
    previous = b""
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % _FULL_EVERY == 0:
            full.append(len(out) - begin)
        else:
            pairs_of_bytes = zip(key, previous, strict=False)
            shared = next((i for i, (a, b) in enumerate(pairs_of_bytes) if a != b), len(previous))
        out += encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value))
        out += key[shared:] + value
        previous = key
    full = full or [0]
    for number in (*full, len(full)):
        out += number.to_bytes(4, "little")
    size = len(out) - begin
    out.append(_PLAIN)
    out += masked(crc32c(bytes(out[begin:]))).to_bytes(4, "little")
    return encode_varint(begin) + encode_varint(size)

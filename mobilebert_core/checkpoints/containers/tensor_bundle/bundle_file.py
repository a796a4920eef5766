"""TensorFlow's checkpoints (V2, "tensor bundle"), read without TensorFlow: PREFIX.index and PREFIX.data-0000k-of-0000n.

The index is a sorted table (sorted_table.py) of protobuf messages (bundle_entries.py): under the empty key how many
data files ("shards") there are, under each other key which bytes of which shard a tensor is.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ....errors import CheckpointError, CheckpointNotFoundError
from ...dtypes import widened
from ...tensor_info import TensorInfo, check_count
from ..held_file import HeldFile
from .bundle_entries import DTYPES, STRING, BundleEntry, parse_entry, place_of, slice_key
from .crc32c import crc32c, masked
from .protobuf_wire import fields, signed, varint
from .sorted_table import read_table

SUFFIX = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_VERSION = 1  # of the format; there has been no other
_SHOWN = 200  # characters of a name that a message takes from a file
_MOST_HELD = 64  # data files that are kept open; checksums tell when others are replaced
_AGAIN = "Fetch or save the whole checkpoint again."


class TensorBundle:
    """A checkpoint of TensorFlow, by its prefix, its index or one of its shards.

    Opening reads the index alone and keeps the data files open that are there, so that a checkpoint whose data is
    elsewhere can be listed. What is read wants the data.

    Attributes:
        path: the index file.
        stored: the arrays by their names in the file. A variable that is stored in parts appears whole.
        strings: the tensors of strings, such as the graph of objects that TensorFlow 2 stores.
        pieces: for each name of either, where it lies: one entry, or one for each part.
        shards: the data files that hold any of it, whether they are there or not.

    Raises:
        CheckpointNotFoundError: when the index is not there or may not be read.
        CheckpointError: when it is damaged, contradicts itself, or is of a later format.
    """

    def __init__(self, path: Path) -> None:
        self._prefix = SUFFIX.sub("", path.name)
        self.path = path.parent / f"{self._prefix}.index"
        self.stored: dict[str, TensorInfo] = {}
        self.strings: dict[str, TensorInfo] = {}
        self.pieces: dict[str, list[BundleEntry]] = {}
        self._entries: dict[str, BundleEntry] = {}
        try:
            data = self.path.read_bytes()
        except OSError as e:
            folder = path if path.is_dir() else path.parent
            beside = ", ".join(sorted(p.name for p in folder.glob("*.index"))[:8])
            raise CheckpointNotFoundError(
                f"{self.path}: wanted the index of a TensorFlow checkpoint, got none ({e.strerror}). Pass the path "
                f"without `.index` or with it; indices in the directory: {beside or 'none'}."
            ) from None
        try:
            self._parse(data)
        except CheckpointError as e:
            raise CheckpointError(f"{self.path}: not a whole index of a TensorFlow checkpoint: {e}. {_AGAIN}") from None
        self.shards = [self._shard(i) for i in sorted({p.shard for found in self.pieces.values() for p in found})]
        self._held: dict[Path, HeldFile] = {}
        for shard in self.shards[:_MOST_HELD]:
            with contextlib.suppress(OSError):  # whoever reads from it will hear of it
                self._held[shard] = HeldFile(shard)

    def _parse(self, data: bytes) -> None:
        table = read_table(data)
        first = next(table, None)
        if first is None or first[0] != b"":
            raise CheckpointError("it has no header, which stands under the empty key")
        self._shard_count, self._order = _header(first[1])
        slices: dict[bytes, BundleEntry] = {}
        for key, value in table:
            try:
                entry = parse_entry(value)
                if not 0 <= entry.shard < self._shard_count:
                    raise CheckpointError(f"in shard {entry.shard} of {self._shard_count}")
                if key.startswith(b"\0"):  # before all names
                    slices[key] = entry
                    continue
                name = key.decode()
                self.pieces[name] = _parts(name, entry, slices) if entry.slices else [entry]
            except (CheckpointError, UnicodeDecodeError) as e:
                raise CheckpointError(f"{key[:_SHOWN].decode(errors='backslashreplace')}: {e}") from None
            self._entries[name] = entry
            (self.strings if entry.dtype == STRING else self.stored)[name] = TensorInfo(entry.shape, entry.dtype_name)
            check_count(self.path, self.pieces)
        _check_apart(self.pieces)

    def read(self, name: str) -> np.ndarray:
        """One array, its checksum verified; bfloat16, which numpy lacks, comes exactly as float32.

        Raises:
            CheckpointNotFoundError: when its shard is not there.
            CheckpointError: when the shard is damaged, cut off or of another checkpoint, or there is no such array.
        """
        entry = self._entries.get(name)
        if entry is None or entry.dtype not in DTYPES:
            raise self._unfit(name, "an array of numbers")
        if not entry.slices:
            return self._array(name, entry)
        # All parts first: they are no larger than their files, whatever shape the index may claim for the whole.
        parts = [self._array(name, piece) for piece in self.pieces[name]]
        whole = np.empty(entry.shape, parts[0].dtype)
        written = np.zeros(entry.shape, bool)
        for part, extents in zip(parts, entry.slices, strict=True):
            place = place_of(extents, entry.shape)
            whole[place], written[place] = part, True
        if not written.all():
            raise CheckpointError(f"{self.path}: the parts of {name} overlap and leave others out. {_AGAIN}")
        return whole

    def read_bytes(self, name: str) -> bytes:
        """A string, its checksums verified.

        Raises:
            CheckpointNotFoundError: when its shard is not there.
            CheckpointError: when the shard is damaged, or there is no such string, or it is several.
        """
        entry = self._entries.get(name)
        if entry is None or entry.dtype != STRING or entry.slices or entry.elements != 1:
            raise self._unfit(name, "a single string")
        raw = self._raw(name, entry).tobytes()
        try:  # the length as a varint, its checksum, the string; checksums take the length as a plain word
            length, at = varint(raw, 0)
            word = length.to_bytes(4 if length < 1 << 32 else 8, self._order)
            wanted = int.from_bytes(raw[at : at + 4], self._order)
            if at + 4 + length != len(raw) or masked(crc32c(word)) != wanted:
                raise CheckpointError(f"{len(raw)} bytes of which {length} are declared, with checksum {wanted:08x}")
        except CheckpointError as e:
            raise CheckpointError(f"{self._shard(entry.shard)}: {name} is no string: {e}. {_AGAIN}") from None
        self._verify(name, entry, crc32c(raw[at:], crc32c(word)))
        return raw[at + 4 :]

    def _shard(self, number: int) -> Path:
        return self.path.parent / f"{self._prefix}.data-{number:05d}-of-{self._shard_count:05d}"

    def _check_length(self, name: str, piece: BundleEntry, size: int) -> None:
        if piece.offset + piece.size > size:
            raise CheckpointError(
                f"{self._shard(piece.shard)}: {name} is {piece.size} bytes from byte {piece.offset}, but the file ends "
                f"at {size}. {_AGAIN}"
            )

    def _raw(self, name: str, piece: BundleEntry) -> NDArray[np.uint8]:
        shard = self._shard(piece.shard)
        try:
            file = self._held.get(shard) or HeldFile(shard)
            self._check_length(name, piece, os.fstat(file.fileno()).st_size)
            raw = np.empty(piece.size, np.uint8)
            file.fill(raw, piece.offset)  # if it is cut off meanwhile, the checksum tells
        except OSError as e:
            raise CheckpointNotFoundError(
                f"{shard}: wanted for {name}, cannot be read ({e.strerror}). Put all files of the checkpoint beside "
                f"{self.path.name}."
            ) from None
        return raw

    def _verify(self, name: str, piece: BundleEntry, crc: int) -> None:
        if masked(crc) != piece.crc:
            raise CheckpointError(
                f"{self._shard(piece.shard)}: {name} has the checksum {masked(crc):08x}, {self.path.name} wants "
                f"{piece.crc:08x}: damaged, or the data of another checkpoint. {_AGAIN}"
            )

    def _array(self, name: str, piece: BundleEntry) -> np.ndarray:
        raw = self._raw(name, piece)
        self._verify(name, piece, crc32c(raw))
        dtype = DTYPES[piece.dtype]
        if dtype == "bool":
            return (raw != 0).reshape(piece.shape)
        as_stored = np.dtype(dtype.replace("bfloat16", "uint16")).newbyteorder(self._order)
        array = raw.view(as_stored).astype(as_stored.newbyteorder("="), copy=False).reshape(piece.shape)
        return widened(array) if dtype == "bfloat16" else array

    def _unfit(self, name: str, wanted: str) -> CheckpointError:
        found = self.stored.get(name) or self.strings.get(name)
        what = f"has the dtype {found.dtype} and shape {found.shape}" if found else "is not in the checkpoint"
        return CheckpointError(
            f"{self.path}: {name} {what}, wanted {wanted}; {len(self.stored)} arrays and {len(self.strings)} tensors "
            "of strings are there."
        )


def _header(message: bytes) -> tuple[int, Literal["little", "big"]]:
    """Number of shards and byte order of BundleHeaderProto."""
    shards = order = oldest_reader = 0
    for number, _, value in fields(message):
        match number, value:
            case 1, int():
                shards = signed(value)
            case 2, int():
                order = value
            case 3, bytes():
                oldest_reader = max((v for n, _, v in fields(value) if n == 2 and isinstance(v, int)), default=0)
    if oldest_reader > _VERSION:
        raise CheckpointError(f"it wants a reader of version {oldest_reader}, this is one of {_VERSION}")
    if order > 1:
        raise CheckpointError(f"byte order {order}, wanted 0 or 1")
    return shards, "big" if order else "little"


def _parts(name: str, whole: BundleEntry, slices: Mapping[bytes, BundleEntry]) -> list[BundleEntry]:
    """The entries of the slices of a variable, in the order of its list."""
    parts = []
    for extents in whole.slices:
        part = slices.get(slice_key(name, extents))
        shape = tuple(place.stop - place.start for place in place_of(extents, whole.shape))
        if part is None or (part.dtype, part.shape) != (whole.dtype, shape) or part.slices:
            raise CheckpointError(f"its part {extents} of shape {shape} is missing or of another shape or dtype")
        parts.append(part)
    return parts


def _check_apart(pieces: Mapping[str, Iterable[BundleEntry]]) -> None:
    """That no byte belongs to two tensors."""
    free = (0, 0)
    owner = ""
    for shard, offset, size, name in sorted(
        (p.shard, p.offset, p.size, n) for n, found in pieces.items() for p in found
    ):
        if size and (shard, offset) < free:
            raise CheckpointError(
                f"{name[:_SHOWN]} at byte {offset} of shard {shard} overlaps {owner[:_SHOWN]}, which ends at {free[1]}"
            )
        free, owner = max((free, owner), ((shard, offset + size), name))

"""Damaged and hostile checkpoints of TensorFlow: one typed error that names file and cause, and no large memory."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_entries import (
    STRING,
    BundleEntry,
    encode_entry,
    slice_key,
)
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_file import TensorBundle
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_writer import write_bundle
from mobilebert_core.checkpoints.containers.tensor_bundle.crc32c import crc32c, masked
from mobilebert_core.checkpoints.containers.tensor_bundle.protobuf_wire import encode_field, fields
from mobilebert_core.checkpoints.containers.tensor_bundle.snappy import decompress
from mobilebert_core.checkpoints.containers.tensor_bundle.sorted_table import read_table, write_table
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError
from tests.core.bundles import FLOAT32, HEADER, block, entries, handle, table, write_index, write_one

ENDLESS = b"\x80" * 11
MINUS = (1 << 64) - 4  # -4 as the wire has it
DATA = "model.ckpt.data-00000-of-00001"


@pytest.fixture
def checkpoint(tmp_path):
    """A whole checkpoint of two arrays, by its prefix."""
    write_bundle(tmp_path / "model.ckpt", {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(5, dtype=np.int32)})
    return tmp_path / "model.ckpt"


def message_of(prefix: Path) -> str:
    """What opening says; it must name the index."""
    with pytest.raises(CheckpointError) as e:
        TensorBundle(prefix)
    assert str(prefix) + ".index: " in str(e.value)
    return str(e.value)


class TestFiles:
    def test_no_index(self, checkpoint):
        with pytest.raises(CheckpointNotFoundError, match="mdel.ckpt.index: wanted .* directory: model.ckpt.index"):
            TensorBundle(checkpoint.with_name("mdel.ckpt"))
        with pytest.raises(CheckpointNotFoundError, match="indices in the directory: none"):
            TensorBundle(checkpoint.parent / "nowhere" / "model.ckpt")

    def test_a_directory(self, tmp_path):
        (tmp_path / "x.index").mkdir()
        with pytest.raises(CheckpointNotFoundError, match="x.index: wanted the index"):
            TensorBundle(tmp_path / "x")
        with pytest.raises(CheckpointNotFoundError, match="directory: x.index"):
            TensorBundle(tmp_path)
        with pytest.raises(CheckpointNotFoundError, match="wanted the index"):
            TensorBundle(Path())

    def test_no_data(self, checkpoint):
        checkpoint.with_name(DATA).unlink()
        bundle = TensorBundle(checkpoint)
        assert bundle.stored["a"].shape == (2, 3)
        with pytest.raises(CheckpointNotFoundError, match=f"{DATA}: wanted for a, cannot be read"):
            bundle.read("a")

    def test_short_data(self, checkpoint):
        path = checkpoint.with_name(DATA)
        path.write_bytes(path.read_bytes()[:-1])
        bundle = TensorBundle(checkpoint)
        assert bundle.read("a").shape == (2, 3)
        with pytest.raises(CheckpointError, match=f"{DATA}: b is 20 bytes from byte 48, but the file ends at 67"):
            bundle.read("b")

    def test_a_flipped_bit_of_data(self, checkpoint):
        path = checkpoint.with_name(DATA)
        data = bytearray(path.read_bytes())
        data[50] ^= 4
        path.write_bytes(data)
        bundle = TensorBundle(checkpoint)
        assert bundle.read("a")[1, 2] == 5
        with pytest.raises(CheckpointError, match=f"{DATA}: b has the checksum"):
            bundle.read("b")

    def test_a_flipped_bit_of_the_index(self, checkpoint):
        path = checkpoint.with_name("model.ckpt.index")
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
        assert "the block at bytes 0 to " in message_of(checkpoint)

    def test_what_is_not_there(self, checkpoint):
        bundle = TensorBundle(checkpoint)
        with pytest.raises(CheckpointError, match="model.ckpt.index: c is not in the checkpoint, wanted an array"):
            bundle.read("c")
        with pytest.raises(CheckpointError, match="c is not in the checkpoint, wanted a single string; 2 arrays"):
            bundle.read_bytes("c")
        with pytest.raises(CheckpointError, match="a has the dtype float64 and shape .*, wanted a single string"):
            bundle.read_bytes("a")


ONE = entries((0, b"", HEADER))
TABLES = {
    "empty": (b"", "0 bytes, an index has at least 48"),
    "short": (table(block(entries()))[-47:], "47 bytes"),
    "magic": (table(block(entries()))[:-1] + b"\0", "it ends in 0047"),
    "no blocks": (table(), "it has no header"),
    "no entries": (table(block(entries())), "it has no header"),
    "no header": (table(block(entries((0, b"a", b"")))), "it has no header"),
    "index beyond the file": (table(index=handle(1 << 40, 5)), "a block at bytes 1099511627776 to"),
    "index in the footer": (table(index=handle(0, 20)), "a block at bytes 0 to 20, but the footer begins at"),
    "an endless number in the footer": (bytes(2) + ENDLESS.ljust(38, b"\x80") + table()[-8:], "does not end"),
    "block beyond the file": (table(handles=[handle(0, 1 << 50)]), "a block at bytes 0 to 1125899906842624"),
    "cyclic blocks": (table(block(ONE), handles=[handle(0, len(ONE))] * 2), "overlaps the one"),
    "empty handle": (table(handles=[b"\1"]), "a number at byte 1 of 1 does not end"),
    "compression": (table(block(ONE, compression=2)), "has the compression 2, wanted 0 or 1"),
    "list of full keys": (table(block(ONE[:-4] + b"\xff" * 4)), "shorter than its list of full keys"),
    "block of nothing": (table(block(b"")), "a block of 0 bytes is shorter"),
    "shared bytes": (table(block(entries((1, b"", b"")))), "shares 1 bytes of 0"),
    "key beyond": (table(block(b"\0\x7f\0" + entries())), "and ends beyond"),
    "value beyond": (table(block(b"\0\0\x7f" + entries())), "and ends beyond"),
    "endless number": (table(block(b"\0" + ENDLESS + entries())), "does not end, or is beyond 64 bits"),
    "number beyond 64 bits": (table(block(b"\xff" * 9 + b"\2" + entries())), "does not end, or is beyond 64 bits"),
    "duplicate key": (table(block(entries((0, b"", HEADER), (0, b"", b"")))), "the key b'' comes after b''"),
    "falling keys": (
        table(block(entries((0, b"", HEADER), (0, b"\0b", b""), (0, b"\0a", b"")))),
        r"the key b'\x00a' comes after b'\x00b'; keys must rise",
    ),
    "snappy distance": (table(block(b"\x05\x01\x01", compression=1)), "snappy: a copy from 1 bytes back after 0 bytes"),
    "snappy length": (table(block(b"\x05\x00a", compression=1)), "snappy: 1 bytes were written, 5 were declared"),
    "snappy cut off": (table(block(b"\x05\x10a", compression=1)), "snappy: 1 bytes were written, 5 were declared"),
    "snappy tag alone": (table(block(b"\x05\x10abcde\x0f", compression=1)), "a copy from 0 bytes back after 5"),
    "snappy endless": (table(block(ENDLESS, compression=1)), "does not end"),
    "header": (table(block(entries((0, b"", b"\0")))), "protobuf: field number 0"),
    "byte order": (table(block(entries((0, b"", encode_field(2, 2))))), "byte order 2, wanted 0 or 1"),
    "version": (table(block(entries((0, b"", encode_field(3, encode_field(2, 2)))))), "wants a reader of version 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_damaged_tables(tmp_path, case):
    data, cause = TABLES[case]
    (tmp_path / "x.index").write_bytes(data)
    message = message_of(tmp_path / "x")
    assert cause in message and "Fetch or save the whole checkpoint again." in message


def entry(**changes) -> bytes:
    return encode_entry(BundleEntry(**{"dtype": FLOAT32, "shape": (2, 3), "size": 24, **changes}))


def shape(*axes: bytes) -> bytes:
    return encode_field(1, FLOAT32) + encode_field(2, b"".join(axes))


def axis(size: int) -> bytes:
    return encode_field(2, encode_field(1, size))


def sliced(*slices: tuple[tuple[int, int], ...]) -> bytes:
    """An entry of the shape (2, 3) in slices of (start, length) on each axis."""
    extents = (b"".join(encode_field(1, encode_field(1, a) + encode_field(2, b)) for a, b in axes) for axes in slices)
    return entry(size=0) + b"".join(encode_field(7, proto) for proto in extents)


ENTRIES = {
    "endless": (ENDLESS, "a number at byte 0 of 11 does not end"),
    "cut off": (entry()[:-1], "a number at byte"),
    "field number 0": (b"\0\0", "protobuf: field number 0"),
    "group": (b"\x0b", "protobuf: field 1 has the wire type 3"),
    "longer than the message": (b"\x12\x7f", "protobuf: field 2 wants 127 bytes, the message has 0 left"),
    "fixed number cut off": (b"\x35\0\0", "protobuf: field 6 wants 4 bytes, the message has 2 left"),
    "negative offset": (entry(offset=MINUS), "offset -4 and size 24 in bytes"),
    "negative size": (entry(size=MINUS), "offset 0 and size -4 in bytes"),
    "product": (entry(shape=(2, 4)), "shape (2, 4) in float32 takes 32 bytes, but 24 are stored"),
    "negative axis": (shape(axis(MINUS), axis(MINUS)), "2 axes of the sizes [-4, -4], which no tensor has"),
    "absurd axes": (shape(axis(1 << 40), axis(1 << 40)), "which no tensor has"),
    "absurd axes of nothing": (shape(axis(0), axis(1 << 62)), "which no tensor has"),
    "many axes": (shape(*[axis(1)] * 33), "33 axes of the sizes [1, 1, "),
    "unknown rank": (shape(encode_field(3, 1)), "a shape of unknown rank"),
    "shard": (entry(shard=1), "in shard 1 of 1"),
    "negative shard": (entry(shard=MINUS), "in shard -4 of 1"),
    "axes of a slice": (sliced(((0, 2),)), "a slice of 1 axes of a variable of the shape (2, 3)"),
    "slice beyond": (sliced(((0, 2), (1, 3))), "a slice from 1 of the length 3 on an axis of 3"),
    "negative slice": (sliced(((MINUS, 2), (0, 3))), "a slice from -4 of the length 2"),
    "too few slices": (sliced(((0, 1), (0, 3))), "1 slices of 3 elements in all, the whole has 6"),
    "slices not there": (sliced(((0, 2), (0, 3))), "its part ((0, 2), (0, 3)) of shape (2, 3) is missing"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_damaged_entries(tmp_path, case):
    message, cause = ENTRIES[case]
    said = message_of(write_index(tmp_path, {"name": message}))
    assert ": name: " in said and cause in said


def test_a_message_does_not_grow_with_the_file(tmp_path):
    name = "n" * 100_000
    assert len(message_of(write_index(tmp_path, {name: entry(shard=1)}))) < 1000
    assert len(message_of(write_index(tmp_path, {name: entry(), "b": entry()}))) < 1000
    (tmp_path / "model.ckpt.index").write_bytes(table(block(entries((0, b"", HEADER), *[(0, name.encode(), b"")] * 2))))
    assert len(message_of(tmp_path / "model.ckpt")) < 1000


def test_names_that_are_no_text(tmp_path):
    assert "\\xff\\xfe: 'utf-8' codec" in message_of(write_index(tmp_path, {b"\xff\xfe": entry()}))


def test_overlapping_tensors(tmp_path):
    index = {"b": entry(offset=20), "a": entry(), "none": entry(shape=(0,), size=0)}
    wanted = "b at byte 20 of shard 0 overlaps a, which ends at 24"
    assert wanted in message_of(write_index(tmp_path, index))
    two_shards = encode_field(1, 2)
    TensorBundle(write_index(tmp_path, {"b": entry(offset=20, shard=1), "a": entry()}, two_shards))


def test_slices_of_another_dtype(tmp_path):
    key = slice_key("name", ((0, 2), (0, 3)))
    index = {"name": sliced(((0, 2), (0, 3))), key: entry(dtype=3)}
    assert "is missing or of another shape or dtype" in message_of(write_index(tmp_path, index))


def test_slices_that_overlap(tmp_path):
    """Two slices may have the elements of the whole and still leave some of it out."""
    twice = ((0, 1), (0, 3))
    crc = masked(crc32c(bytes(12)))
    index = {"name": sliced(twice, twice), slice_key("name", twice): entry(shape=(1, 3), size=12, crc=crc)}
    prefix = write_index(tmp_path, index)
    assert "overlaps name" in message_of(prefix)  # one entry cannot be two parts


def test_slices_that_leave_something_out(tmp_path):
    slices = ((0, 1), (0, 2)), ((0, 2), (0, 2))
    crcs = [masked(crc32c(bytes(size))) for size in (8, 16)]
    index = {
        "name": sliced(*slices),
        slice_key("name", slices[0]): entry(shape=(1, 2), size=8, crc=crcs[0]),
        slice_key("name", slices[1]): entry(shape=(2, 2), size=16, offset=8, crc=crcs[1]),
    }
    prefix = write_index(tmp_path, index)
    prefix.with_name(DATA).write_bytes(bytes(24))
    with pytest.raises(CheckpointError, match="model.ckpt.index: the parts of name overlap and leave others out"):
        TensorBundle(prefix).read("name")


LENGTH = masked(crc32c(b"\3\0\0\0")).to_bytes(4, "little")
STRINGS = {
    "empty": (b"", "x is no string: a number at byte 0 of 0 does not end"),
    "endless": (ENDLESS, "x is no string: a number at byte 0"),
    "length": (b"\4" + LENGTH + b"abc", "x is no string: 8 bytes of which 4 are declared"),
    "cut off": (b"\3" + LENGTH[:2], "x is no string: 3 bytes of which 3 are declared"),
    "checksum of the length": (
        b"\3" + bytes(4) + b"abc",
        "x is no string: 8 bytes of which 3 are declared, with checksum 00000000",
    ),
    "checksum of all": (b"\3" + LENGTH + b"abc", "x has the checksum"),
}


@pytest.mark.parametrize("case", STRINGS)
def test_damaged_strings(tmp_path, case):
    data, cause = STRINGS[case]
    with pytest.raises(CheckpointError) as e:
        write_one(tmp_path, data, dtype=STRING, crc=0).read_bytes("x")
    assert f"{DATA}: {cause}" in str(e.value)


class TestMemory:
    @pytest.fixture(autouse=True)
    def little(self):
        tracemalloc.start()
        yield
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 30_000_000

    def test_absurd_but_consistent_sizes(self, tmp_path):
        bundle = write_one(tmp_path, bytes(4), shape=(1 << 40,), size=1 << 42)
        with pytest.raises(CheckpointError, match="but the file ends at 4"):
            bundle.read("x")

    def test_keys_that_unfold(self):
        """Entries that share a long key take seven bytes each; unfolded, 4 GB."""
        key = b"a" * 100_000
        rising = ((len(key) - 2, i.to_bytes(2, "big"), b"") for i in range(0x6162, 0xFFFF))
        data = table(block(entries((0, b"", HEADER), (0, key, b""), *rising)))
        with pytest.raises(CheckpointError, match="keys of more than 64 times the file's"):
            for _ in read_table(data):
                pass

    def test_a_string_of_copies(self):
        with pytest.raises(CheckpointError, match="snappy: 66 bytes were written, 64 were declared"):
            decompress(b"\x40" + b"\x04ab" + b"\xfe\x01\0" * 1_000_000)


@pytest.fixture(scope="module")
def whole():
    """Every file of a small checkpoint, and what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = {f"layer_{i}/{kind}": np.arange(i + 7.0) for i in range(20) for kind in ("bias", "kernel")}
        write_bundle(Path(folder, "model.ckpt"), arrays | {"flags": np.ones((2, 3), bool)})
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        return files, {name: TensorBundle(Path(folder, "model.ckpt")).read(name) for name in sorted(arrays)}


def read_all(files: dict[str, bytes]) -> dict[str, np.ndarray] | None:
    """What a checkpoint of these files holds, or None after a CheckpointError. Anything else escapes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        try:
            bundle = TensorBundle(Path(folder, "model.ckpt"))
            for name in bundle.strings:
                bundle.read_bytes(name)
            return {name: bundle.read(name) for name in bundle.stored}
        except CheckpointError:
            return None


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_damage_is_told_or_harmless(whole, data):
    files, arrays = whole
    name = data.draw(st.sampled_from(sorted(files)))
    damaged = bytearray(files[name])
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    else:
        footer = name.endswith(".index") and data.draw(st.booleans())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(len(damaged) - 48 if footer else 0, len(damaged) - 1))
            damaged[at] ^= data.draw(st.integers(1, 255))
    found = read_all({**files, name: bytes(damaged)})
    if found is not None:
        del found["flags"]
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_index_with_right_checksums_is_told_or_read(whole, data):
    """What a hostile writer can do, whom no checksum hinders."""
    files, _ = whole
    pairs = dict(read_table(files["model.ckpt.index"]))
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(pairs)))
        message = bytearray(pairs[key])
        at = data.draw(st.integers(0, len(message)))
        message[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        new_key = data.draw(st.sampled_from([key, key, b"", b"\0" + key, key + b"\xff"]))
        pairs[new_key] = bytes(message)
    read_all({**files, "model.ckpt.index": write_table(sorted(pairs.items()))})


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_message_or_told(data):
    for read in (lambda raw: list(fields(raw)), decompress):
        try:
            read(data)
        except CheckpointError as e:
            assert str(e)


@settings(deadline=None, max_examples=200)
@given(contents=st.binary(max_size=60), compression=st.integers(0, 2))
def test_any_block_is_read_or_told(contents, compression):
    try:
        list(read_table(table(block(contents, compression))))
    except CheckpointError as e:
        assert str(e)

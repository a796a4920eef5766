"""TensorFlow's checkpoints without TensorFlow: what it writes is read, what is written it reads."""

from __future__ import annotations

import csv
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.containers.tensor_bundle import protobuf_wire as wire
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_entries import STRING, slice_key
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_file import TensorBundle
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_writer import write_bundle, write_checkpoint_state
from mobilebert_core.checkpoints.containers.tensor_bundle.crc32c import EXPONENTS, crc32c, masked
from mobilebert_core.checkpoints.containers.tensor_bundle.snappy import decompress
from mobilebert_core.checkpoints.containers.tensor_bundle.sorted_table import read_table, write_table
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError
from mobilebert_core.saves import current
from scripts.sparse_crc_multiple import four_term_multiples
from tests.core.bundles import HEADER, assert_same, block, entries, sample_arrays, table, write_one
from tests.core.tokenizers import real_data


def bitwise(data: bytes) -> int:
    """CRC-32C as its definition says it, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


KEYS = st.binary(max_size=6) | st.binary(max_size=3).map(lambda end: b"same/" + end)


class TestChecksum:
    @pytest.mark.parametrize(
        ("data", "wanted"),  # RFC 3720, B.4; and the usual check value
        [
            (bytes(32), 0x8A9136AA),
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
            (b"123456789", 0xE3069283),
            (b"", 0),
        ],
    )
    def test_published_values(self, data, wanted):
        assert crc32c(data) == wanted

    def test_any_length(self):
        data = np.random.default_rng(0).integers(0, 256, 50_000, np.uint8)
        for size in (*range(1, 9), 255, 256, 257, 5_684, 5_685, 5_686, 10_009, 45_479, 45_480, 45_481, 50_000):
            assert crc32c(data[:size]) == bitwise(data[:size].tobytes()), size

    def test_one_part_after_the_other(self):
        data = np.random.default_rng(1).integers(0, 256, 1_000_000, np.uint8).tobytes()
        for cut in (0, 1, 3, 4, 5, 1000, 45_480, 262_144, 307_624, 307_625, 600_000, len(data)):
            assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data), cut
        by_thousands = 0
        for begin in range(0, len(data), 1000):  # below what is folded
            by_thousands = crc32c(data[begin : begin + 1000], by_thousands)
        assert by_thousands == crc32c(data)

    def test_the_multiple_is_one(self):
        polynomial = 0x11EDC6F41  # highest power first
        total = sum(1 << exponent for exponent in EXPONENTS)
        for shift in range(EXPONENTS[0] - 32, -1, -1):
            if total >> shift + 32 & 1:
                total ^= polynomial << shift
        assert total == 0

    def test_the_multiple_is_found_again(self):
        found = list(four_term_multiples(5600, 5700))
        assert found == [EXPONENTS]

    def test_takes_little_memory(self):
        data = np.zeros(20_000_000, np.uint8)
        crc32c(data[:100_000])
        tracemalloc.start()
        crc32c(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

    def test_masked(self):
        assert masked(0) == 0xA282EAD8
        assert masked(1) == 0xA282EAD8 + (1 << 17)
        assert masked(0x8000_0000) == 0xA282EAD8 + (1 << 16)
        assert masked(0xFFFF_FFFF) == 0xA282EAD7


class TestWireFormat:
    def test_fields(self):
        message = (
            wire.encode_field(1, 300)
            + wire.encode_field(2, b"name")
            + wire.encode_fixed32(6, 7)
            + b"\x39"
            + bytes(7)
            + b"\x80"
        )
        assert list(wire.fields(message)) == [
            (1, wire.VARINT, 300), (2, wire.BYTES, b"name"), (6, wire.FIXED32, 7), (7, wire.FIXED64, 0x80 << 56),
        ]  # fmt: skip

    @settings(deadline=None)
    @given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
    def test_numbers(self, number, before):
        data = wire.encode_varint(number)
        assert wire.varint(before + data, len(before)) == (number, len(before) + len(data))

    def test_signed(self):
        assert [wire.signed(n) for n in (0, 5, 2**63 - 1, 2**64 - 1, 2**63)] == [0, 5, 2**63 - 1, -1, -(2**63)]


class TestTable:
    def test_snappy_of_the_real_library(self):
        # Compressed by the snappy library; its copies have one- and two-byte distances and reach into themselves.
        data = bytes.fromhex(
            "bd01c8626572742f656e636f6465722f6c617965725f302f617474656e74696f6e2f6f75747075742f64656e73652f6b65726e656c"
            "204a330000315e330014626961732061fe01005e0100"
        )
        wanted = "bert/encoder/layer_{}/attention/output/dense/{} "
        assert decompress(data).decode() == wanted.format(0, "kernel") + wanted.format(1, "bias") + "a" * 89

    def test_snappy_by_hand(self):
        # A literal whose length takes a second byte, and a copy from a distance of four bytes.
        literal = bytes(range(100))
        assert decompress(b"\x68" + b"\xf0\x63" + literal + b"\x0f\x64\0\0\0") == literal + literal[:4]

    def test_compressed_blocks_and_several(self):
        first, second = entries((0, b"", b"h"), (0, b"ab", b"1")), entries((0, b"ac", b"2"), (1, b"d", b"3"))
        packed = wire.encode_varint(len(first)) + bytes([len(first) - 1 << 2]) + first
        data = table(block(packed, compression=1), block(second))
        assert list(read_table(data)) == [(b"", b"h"), (b"ab", b"1"), (b"ac", b"2"), (b"ad", b"3")]

    @settings(deadline=None)
    @given(st.dictionaries(KEYS, st.binary(max_size=9), min_size=1))
    def test_round_trip(self, pairs):
        wanted = sorted(pairs.items())
        assert list(read_table(write_table(wanted))) == wanted


class TestBundle:
    def test_round_trip(self, tmp_path):
        arrays = sample_arrays()
        write_bundle(tmp_path / "new" / "model.ckpt", arrays)
        bundle = TensorBundle(tmp_path / "new" / "model.ckpt")
        assert list(bundle.stored) == sorted(arrays)
        assert bundle.strings == {}
        for name, array in arrays.items():
            assert bundle.stored[name] == TensorInfo(array.shape, array.dtype.name)
            assert_same(bundle.read(name), array)
            bundle.read(name)[...] = 0  # a reader may change what it was passed
            assert_same(bundle.read(name), array)
        assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
            "model.ckpt.data-00000-of-00001", "model.ckpt.index",
        ]  # fmt: skip

    @pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001"])
    def test_every_file_names_the_checkpoint(self, tmp_path, suffix):
        write_bundle(tmp_path / "model.ckpt-7", {"x": np.ones(2)})
        bundle = TensorBundle(tmp_path / f"model.ckpt-7{suffix}")
        assert bundle.path == tmp_path / "model.ckpt-7.index"
        assert bundle.shards == [tmp_path / "model.ckpt-7.data-00000-of-00001"]
        assert_same(bundle.read("x"), np.ones(2))

    def test_any_layout_and_byte_order_is_written_right(self, tmp_path):
        rows = np.arange(12, dtype=np.float32).reshape(3, 4)
        arrays = {"turned": rows.T, "thinned": rows[::2, ::-1], "big": rows.astype(">f4"), "flag": np.bool_(True)}
        write_bundle(tmp_path / "x", iter(arrays.items()))
        bundle = TensorBundle(tmp_path / "x")
        for name, array in arrays.items():
            assert_same(
                bundle.read(name), np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
            )

    def test_long_entries(self, tmp_path):
        """More entries than between full keys, names that share much or little, and beyond ASCII."""
        arrays = {f"bert/encoder/layer_{i}/größe": np.full(i % 3, i, np.int64) for i in range(100)} | {"é": np.ones(1)}
        write_bundle(tmp_path / "x", arrays)
        bundle = TensorBundle(tmp_path / "x")
        assert set(bundle.stored) == set(arrays)
        for name in arrays:
            assert_same(bundle.read(name), arrays[name])

    def test_writes_one_array_at_a_time(self, tmp_path):
        def pairs():
            for i in range(20):
                yield f"x{i}", np.full(250_000, i, np.float32)

        crc32c(bytes(100))
        tracemalloc.start()
        write_bundle(tmp_path / "x", pairs())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000  # of 20 MB: the array, the next one and the work of the checksum
        assert_same(TensorBundle(tmp_path / "x").read("x19"), np.full(250_000, 19, np.float32))

    def test_big_endian(self, tmp_path):
        array = np.array([[1.5, -2.0]], np.float32)
        header = HEADER + wire.encode_field(2, 1)
        assert_same(write_one(tmp_path, array.astype(">f4").tobytes(), header, shape=(1, 2)).read("x"), array)
        length = masked(crc32c(b"\0\0\0\5")).to_bytes(4, "big")
        crc = masked(crc32c(length + b"bytes", crc32c(b"\0\0\0\5")))
        assert write_one(tmp_path, b"\5" + length + b"bytes", header, dtype=STRING, crc=crc).read_bytes("x") == b"bytes"

    def test_other_dtypes_are_listed(self, tmp_path):
        bundle = write_one(tmp_path, bytes(8), dtype=8)
        assert bundle.stored == {"x": TensorInfo((), "TensorFlow's dtype 8")}
        with pytest.raises(CheckpointError, match="x has the dtype TensorFlow's dtype 8 and shape .., wanted an array"):
            bundle.read("x")

    def test_a_true_of_any_bits(self, tmp_path):
        assert write_one(tmp_path, b"\2\0", dtype=10, shape=(2,)).read("x").tobytes() == b"\1\0"


class TestWriting:
    def test_an_interruption_leaves_the_old_one(self, tmp_path):
        def broken():
            yield "x", np.ones(5)
            raise KeyboardInterrupt

        write_bundle(tmp_path / "x", {"x": np.zeros(3)})
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(KeyboardInterrupt):
            write_bundle(tmp_path / "x", broken())
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_between_the_renamings_nothing_is_mistaken(self, tmp_path, monkeypatch):
        """By readers that do not look into the save that is on its way; ours read it there."""
        write_bundle(tmp_path / "x", {"x": np.zeros(3)})
        replace = os.replace

        def replace_data_alone(source, target):
            if target.name.endswith(".index"):
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", replace_data_alone)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(tmp_path / "x", {"x": np.ones(3)})
        with pytest.raises(CheckpointNotFoundError, match="wanted the index of a TensorFlow checkpoint, got none"):
            TensorBundle(tmp_path / "x")
        assert TensorBundle(current(tmp_path / "x")).read("x").tolist() == [1.0] * 3

    @pytest.mark.parametrize(
        ("pairs", "message"),
        [
            ([("x", np.array(["text"]))], "x (1,) has the dtype <U4, which is not written; wanted one of float32, "),
            ([("x", np.array([None]))], "x (1,) has the dtype object"),
            ([("", np.ones(1))], "the name '' is empty"),
            ([("\0x", np.ones(1))], "begins with 0"),
            ([("x", np.ones(1)), ("x", np.ones(1))], "the name 'x' is empty, passed twice"),
        ],
    )
    def test_what_cannot_be_written(self, tmp_path, pairs, message):
        with pytest.raises(CheckpointError) as e:
            write_bundle(tmp_path / "model", pairs)
        assert message in str(e.value) and str(tmp_path / "model") in str(e.value)
        assert list(tmp_path.iterdir()) == []


class TestAgainstTensorFlow:
    """TensorFlow's own functions on one side."""

    def save(self, prefix: Path, tensors: list[tuple[str, object, str]]) -> None:
        import tensorflow as tf

        names, values, slices = zip(*tensors, strict=True)
        tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=list(names), shape_and_slices=list(slices),
            tensors=[tf.constant(value) for value in values],
        )  # fmt: skip

    def test_reads_every_dtype_from_shards(self, tmp_path):
        import tensorflow as tf

        arrays = sample_arrays()
        rounded = tf.cast(arrays["of/float32"], tf.bfloat16)
        self.save(tmp_path / "a", [(name, array, "") for name, array in arrays.items()])
        self.save(
            tmp_path / "b", [("rounded", rounded, ""), ("one", b"\0" * 300 + b"\xff", ""), ("two", [b"", b"a"], "")]
        )
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[str(tmp_path / "a"), str(tmp_path / "b")], destination_prefix=str(tmp_path / "both"),
            delete_old_dirs=False, allow_missing_files=False,
        )  # fmt: skip
        bundle = TensorBundle(tmp_path / "both")
        assert [shard.name[-8:] for shard in bundle.shards] == ["of-00002", "of-00002"]
        assert set(bundle.stored) == {*arrays, "rounded"}
        for name, array in arrays.items():
            assert_same(bundle.read(name), array)
        assert bundle.stored["rounded"] == TensorInfo((3, 5), "bfloat16")
        assert_same(bundle.read("rounded"), tf.cast(rounded, tf.float32).numpy())
        assert bundle.strings == {"one": TensorInfo((), "string"), "two": TensorInfo((2,), "string")}
        assert bundle.read_bytes("one") == b"\0" * 300 + b"\xff"
        with pytest.raises(CheckpointError, match="two has the dtype string and shape .2,., wanted a single string"):
            bundle.read_bytes("two")

    def test_joins_partitioned_variables(self, tmp_path):
        whole = np.arange(40 * 90, dtype=np.float32).reshape(90, 40)
        self.save(
            tmp_path / "x",
            [
                ("v\0w", whole[:70], "90 40 0,70:-"),
                ("v\0w", whole[70:], "90 40 70,20:-"),
                ("u", whole[:, :3], "90 3 -:0,3"),
                ("t", whole[:1, :9], "1 9 0,1:0,9"),
            ],
        )
        bundle = TensorBundle(tmp_path / "x")
        assert bundle.stored == {
            name: TensorInfo(shape, "float32") for name, shape in {"v\0w": (90, 40), "u": (90, 3), "t": (1, 9)}.items()
        }
        assert_same(bundle.read("v\0w"), whole)
        assert_same(bundle.read("u"), whole[:, :3])
        assert_same(bundle.read("t"), whole[:1, :9])

    @pytest.mark.parametrize("start", [0, 63, 64, 8191, 8192, 1_048_576, 2**31])
    def test_finds_slices_that_begin_anywhere(self, tmp_path, start):
        """The starts of slices are in their keys, in a number of bytes that depends on them."""
        self.save(tmp_path / "x", [("v", np.ones(5, np.float32), f"{start + 9} {start},5")])
        keys = [key for key, _ in read_table((tmp_path / "x.index").read_bytes())]
        assert slice_key("v", ((start, 5),)) in keys

    def test_reads_the_graph_of_objects(self, tmp_path):
        import tensorflow as tf

        prefix = tf.train.Checkpoint(kernel=tf.Variable([[1.0, 2.0]])).save(str(tmp_path / "model"))
        bundle = TensorBundle(Path(prefix))
        graph = bundle.read_bytes("_CHECKPOINTABLE_OBJECT_GRAPH")
        assert graph == tf.train.load_checkpoint(prefix).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        assert_same(bundle.read("kernel/.ATTRIBUTES/VARIABLE_VALUE"), np.array([[1, 2]], np.float32))

    def test_reads_what_is_written(self, tmp_path):
        import tensorflow as tf

        arrays = sample_arrays()
        rounded = tf.cast(arrays["of/float32"], tf.bfloat16).numpy()
        write_bundle(tmp_path / "model.ckpt", arrays | {"rounded": rounded})
        write_checkpoint_state(tmp_path / "model.ckpt")
        prefix = tf.train.latest_checkpoint(str(tmp_path))
        assert prefix == str(tmp_path / "model.ckpt")
        reader = tf.train.load_checkpoint(prefix)
        assert tf.train.list_variables(prefix) == sorted(
            (name, list(array.shape)) for name, array in {**arrays, "rounded": rounded}.items()
        )
        for name, array in arrays.items():
            assert_same(np.asarray(reader.get_tensor(name)), array)
        assert reader.get_variable_to_dtype_map()["rounded"] == tf.bfloat16
        np.testing.assert_array_equal(reader.get_tensor("rounded"), rounded)

    def test_writes_the_same_data(self, tmp_path):
        arrays = sample_arrays()
        write_bundle(tmp_path / "ours", arrays)
        self.save(tmp_path / "theirs", [(name, arrays[name], "") for name in sorted(arrays)])
        data = ".data-00000-of-00001"
        assert (tmp_path / f"ours{data}").read_bytes() == (tmp_path / f"theirs{data}").read_bytes()
        ours, theirs = (read_table((tmp_path / f"{name}.index").read_bytes()) for name in ("ours", "theirs"))
        assert list(ours) == list(theirs)

    @pytest.mark.parametrize("name", ["model.ckpt", "größe.ckpt", 'a"b'])
    def test_finds_the_latest(self, tmp_path, name):
        import tensorflow as tf

        write_bundle(tmp_path / name, {"x": np.ones(1)})
        write_checkpoint_state(tmp_path / name)
        assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / name)


def test_a_real_index():
    """Google's, whose blocks are compressed; the data is not there, and listing does without."""
    path = real_data("checkpoint_facts", "float", "variables.index")
    with real_data("checkpoint_facts", "float", "tensors.tsv").open(encoding="utf-8") as f:
        wanted = {row[0]: row[1:] for row in csv.reader(f, delimiter="\t")}
    bundle = TensorBundle(path)
    found = {}
    for name, (piece,) in bundle.pieces.items():
        shape = "x".join(map(str, piece.shape)) or "-"
        found[name] = [shape, str(piece.dtype), str(piece.offset), str(piece.size), f"{piece.crc:08x}"]
    assert len(wanted) == 1114 and found == wanted
    assert bundle.stored["bert/embeddings/word_embeddings"] == TensorInfo((30522, 128), "float32")
    with pytest.raises(
        CheckpointNotFoundError, match="variables.data-00000-of-00001: wanted for global_step, cannot be"
    ):
        bundle.read("global_step")

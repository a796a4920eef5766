"""Small TensorFlow checkpoints for tests, whole and broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_entries import BundleEntry, encode_entry
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_file import TensorBundle
from mobilebert_core.checkpoints.containers.tensor_bundle.crc32c import crc32c, masked
from mobilebert_core.checkpoints.containers.tensor_bundle.protobuf_wire import encode_field, encode_varint
from mobilebert_core.checkpoints.containers.tensor_bundle.sorted_table import write_table

HEADER = encode_field(1, 1)
FLOAT32 = 1
DTYPES = (
    "float64", "float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip


def sample_arrays() -> dict[str, np.ndarray]:
    """An array of every dtype that numpy has, a number without axes, and arrays without elements."""
    rng = np.random.default_rng(0)
    arrays = {f"of/{dtype}": (rng.standard_normal((3, 5)) * 20).astype(dtype) for dtype in DTYPES}
    return arrays | {"scalar": np.array(2.5, np.float32), "none": np.zeros((0, 4), np.float32), "Zero": np.zeros(0)}


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype and found.dtype.isnative and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


def block(contents: bytes, compression: int = 0) -> bytes:
    """A block with its trailer."""
    contents += bytes([compression])
    return contents + masked(crc32c(contents)).to_bytes(4, "little")


def entries(*triples: tuple[int, bytes, bytes], full: int = 0) -> bytes:
    """The contents of a block: (shared bytes of the key, the others, value) of each entry, then the full keys."""
    out = b"".join(encode_varint(s) + encode_varint(len(k)) + encode_varint(len(v)) + k + v for s, k, v in triples)
    return out + bytes(4 * full) + full.to_bytes(4, "little")


def handle(offset: int, size: int) -> bytes:
    return encode_varint(offset) + encode_varint(size)


def table(*blocks: bytes, handles: list[bytes] | None = None, index: bytes | None = None) -> bytes:
    """A table of finished blocks; their handles, or the place of the block of handles, may be false."""
    begins = [sum(map(len, blocks[:i])) for i in range(len(blocks) + 1)]
    handles = handles or [handle(begin, len(b) - 5) for begin, b in zip(begins, blocks, strict=False)]
    last = entries(*((0, bytes([i + 1]), place) for i, place in enumerate(handles)))
    footer = handle(0, 0) + (index or handle(begins[-1], len(last)))
    return b"".join(blocks) + block(last) + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def write_index(folder: Path, messages: dict[str | bytes, bytes | BundleEntry], header: bytes = HEADER) -> Path:
    """An index alone, its checksums right, whatever its messages are; gives its prefix."""
    pairs = {key if isinstance(key, bytes) else key.encode(): value for key, value in messages.items()}
    raw = {key: encode_entry(value) if isinstance(value, BundleEntry) else value for key, value in pairs.items()}
    prefix = folder / "model.ckpt"
    prefix.with_name("model.ckpt.index").write_bytes(write_table(sorted({b"": header, **raw}.items())))
    return prefix


def write_one(folder: Path, data: bytes, header: bytes = HEADER, **fields: Any) -> TensorBundle:
    """A checkpoint with the one tensor `x` that the fields of its entry describe, and these bytes in its shard."""
    entry = BundleEntry(**{"dtype": FLOAT32, "shape": (), "size": len(data), "crc": masked(crc32c(data)), **fields})
    prefix = write_index(folder, {"x": entry}, header)
    prefix.with_name("model.ckpt.data-00000-of-00001").write_bytes(data)
    return TensorBundle(prefix)

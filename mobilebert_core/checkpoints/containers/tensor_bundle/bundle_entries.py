"""What the index of a TensorFlow checkpoint says of one tensor: BundleEntryProto, and the keys of its parts.

A large variable of TensorFlow 1 may be stored in parts ("slices"). Its own entry then has no bytes, only the list of
its slices, and each slice has an entry of its own under a key that `slice_key` makes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ....errors import CheckpointError
from .protobuf_wire import encode_field, encode_fixed32, fields, signed

# TensorFlow's numbers of the dtypes that are read and written (types.proto), in numpy's spelling.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool", 14: "bfloat16",
    17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
STRING = 7
_MOST_AXES = 32  # of every release of numpy

Slice = tuple[tuple[int, int], ...]  # (start, length) of each axis; the length of a whole axis is WHOLE
WHOLE = -1


class BundleEntry(NamedTuple):
    """A tensor: its shape, its dtype by TensorFlow's number, and the bytes of a shard that hold it."""

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0  # masked
    slices: tuple[Slice, ...] = ()

    @property
    def dtype_name(self) -> str:
        return "string" if self.dtype == STRING else DTYPES.get(self.dtype, f"TensorFlow's dtype {self.dtype}")

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def parse_entry(message: bytes) -> BundleEntry:
    """An entry whose size agrees with its shape.

    Raises:
        CheckpointError: the bare fact, when it is no BundleEntryProto or describes no tensor.
    """
    shape: tuple[int, ...] = ()
    slices: list[Slice] = []
    numbers: dict[int, int] = {}
    for number, _, value in fields(message):
        if isinstance(value, int):
            numbers[number] = signed(value)
        elif number == 2:
            shape = _shape(value)
        elif number == 7:
            slices.append(_slice(value))
    dtype, shard, offset, size, crc = (numbers.get(number, 0) for number in (1, 3, 4, 5, 6))
    entry = BundleEntry(dtype, shape, shard, offset, size, crc, tuple(slices))
    if entry.offset < 0 or entry.size < 0:
        raise CheckpointError(f"offset {entry.offset} and size {entry.size} in bytes, wanted no negative ones")
    if slices:
        _check_slices(entry)
    elif dtype in DTYPES:
        wanted = entry.elements * np.dtype(DTYPES[dtype].replace("bfloat16", "uint16")).itemsize
        if entry.size != wanted:
            raise CheckpointError(
                f"shape {shape} in {entry.dtype_name} takes {wanted} bytes, but {entry.size} are stored"
            )
    return entry


def encode_entry(entry: BundleEntry) -> bytes:
    """The BundleEntryProto of a whole tensor. As ever in protobuf, numbers that are 0 are left out."""
    shape = b"".join(encode_field(2, encode_field(1, size) if size else b"") for size in entry.shape)
    out = encode_field(1, entry.dtype) + encode_field(2, shape)
    for number, value in ((3, entry.shard), (4, entry.offset), (5, entry.size)):
        out += encode_field(number, value) if value else b""
    return out + (encode_fixed32(6, entry.crc) if entry.crc else b"")


def slice_key(name: str, extents: Slice) -> bytes:
    """The key of one slice's entry: numbers and text so written that their order as bytes is their order.

    TensorFlow's `EncodeTensorNameSlice`: 0, the name, the number of axes, then the start and length of each.
    """
    text = name.encode().replace(b"\0", b"\0\xff")  # 0xff, which would be marked too, is in no UTF-8
    numbers = b"".join(_ordered(start) + _ordered(length) for start, length in extents)
    return b"\0" + text + b"\0\1" + bytes([1, len(extents)]) + numbers


def place_of(extents: Slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a slice lies in the whole."""
    return tuple(
        slice(0, size) if length == WHOLE else slice(start, start + length)
        for (start, length), size in zip(extents, shape, strict=True)
    )


def _ordered(number: int) -> bytes:
    """A number not below -64: as many leading ones as bytes, then its bits."""
    if number < 0:
        return bytes([0x80 + number])
    size = number.bit_length() // 7 + 1
    return ((1 << size) - 1 << 7 * size | number).to_bytes(size, "big")


@lru_cache
def _shape(message: bytes) -> tuple[int, ...]:
    """TensorShapeProto."""
    shape = []
    for number, _, value in fields(message):
        match number, value:
            case 2, bytes(axis):
                shape.append(_numbers(axis).get(1, 0))
            case 3, int(unknown) if unknown:
                raise CheckpointError("a shape of unknown rank")
    if len(shape) > _MOST_AXES or math.prod(size or 1 for size in shape) >= 1 << 60 or min(shape, default=0) < 0:
        raise CheckpointError(f"{len(shape)} axes of the sizes {shape[:8]}, which no tensor has")
    return tuple(shape)


def _slice(message: bytes) -> Slice:
    """TensorSliceProto."""
    extents = []
    for number, _, value in fields(message):
        if number == 1 and isinstance(value, bytes):
            found = _numbers(value)
            extents.append((found.get(1, 0), found.get(2, WHOLE)))
    return tuple(extents)


def _numbers(message: bytes) -> dict[int, int]:
    """The fields that are numbers, each by its last value."""
    return {number: signed(value) for number, _, value in fields(message) if isinstance(value, int)}


def _check_slices(entry: BundleEntry) -> None:
    """Slices lie within the whole and have as many elements as it, so that joining them takes no more memory."""
    total = 0
    for extents in entry.slices:
        if len(extents) != len(entry.shape):
            raise CheckpointError(f"a slice of {len(extents)} axes of a variable of the shape {entry.shape}")
        for (start, length), size in zip(extents, entry.shape, strict=True):
            if start != 0 if length == WHOLE else not 0 <= start <= start + length <= size:
                raise CheckpointError(f"a slice from {start} of the length {length} on an axis of {size}")
        total += math.prod(place.stop - place.start for place in place_of(extents, entry.shape))
    if total != entry.elements:
        raise CheckpointError(f"{len(entry.slices)} slices of {total} elements in all, the whole has {entry.elements}")

"""bfloat16, which numpy lacks, as the upper half of float32; and casts that say what they would lose."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..configuration.fields import DTYPES
from ..errors import CheckpointError

COUNTS = ("int64", "int32", "int16", "int8", "uint8", "bool")  # of what a class adds and no precision is about


def widened(halves: np.ndarray) -> np.ndarray:
    """bfloat16, stored as its 16 bits, as the float32 of the same value."""
    bits = halves.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def narrowed(array: np.ndarray) -> np.ndarray:
    """Floats as the 16 bits of the nearest bfloat16; halfway cases go to the even one, as IEEE 754 rounds."""
    floats = np.ascontiguousarray(array, np.float32)
    bits, none = floats.view(np.uint32), np.isnan(floats)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    rounded[none] = (bits[none] >> 16) | 0x40  # what is no number stays so
    return rounded.astype(np.uint16)


def widest(dtypes: Iterable[str]) -> str:
    """The narrowest floating dtype that holds the values of all of these; float32 without any."""
    found = set(dtypes).intersection(DTYPES)
    if "float64" in found or len(found) == 1:
        return "float64" if "float64" in found else found.pop()
    return "float32"  # float16 and bfloat16 each have values that the other has not


def cast(array: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """An array in another floating dtype; bfloat16 as float32 of rounded values.

    Raises:
        CheckpointError: when a value of `name` is beyond the range of the dtype.
    """
    if array.dtype.kind != "f" or dtype == str(array.dtype):
        return array
    if dtype == "bfloat16":
        single = array.astype(np.float32)
        result = widened(narrowed(single)).reshape(array.shape)
    else:
        with np.errstate(over="ignore"):
            result = array.astype(dtype)
    if array.size and not np.isfinite(result).all():
        raise CheckpointError(
            f"{name} {array.shape}: {dtype} cannot hold {float(np.abs(array).max()):.3g}, its largest value. Keep "
            "float32, or take bfloat16, which has its range."
        )
    return result

"""What a reader of weights offers, whatever the format of its file."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import CheckpointError
from ..weights import Weight


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as a file describes it: shape, and dtype in numpy's spelling ("bfloat16" included)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


MOST_ARRAYS = 20_000  # of one file; the released model has 1,113, with the moments of its training 3,300


def check_count(path: Path, names: Collection[str]) -> None:
    """Raises CheckpointError for a file with more arrays than any model has, before each of them is looked at."""
    if len(names) > MOST_ARRAYS:
        raise too_many(path, names, f"{len(names):,}")


def too_many(path: Path, names: Iterable[str], count: str = "more") -> CheckpointError:
    """The error for a file with more arrays than any model has."""
    first = ", ".join(name[:100] for name in islice(names, 3))
    return CheckpointError(
        f"{path}: wanted the weights of a model, at most {MOST_ARRAYS:,} arrays, got {count}, the first {first}. "
        "Nothing was loaded."
    )


class WeightFile(Protocol):
    """A description of every array in a file, and one array at a time."""

    path: Path
    stored: dict[str, TensorInfo]

    def read(self, name: str) -> np.ndarray: ...


class RewrittenNames:
    """A file under other names: every regular expression of a mapping replaced, in their order, where it matches.

    Raises:
        CheckpointError: when two names become the same, or an expression is none.
    """

    def __init__(self, file: WeightFile, key_mapping: Mapping[str, str]) -> None:
        self.path = file.path
        self._file = file
        self._places: dict[str, str] = {}
        for name in file.stored:
            new = name
            try:
                for pattern, replacement in key_mapping.items():
                    new = re.sub(pattern, replacement, new)
            except re.error as e:
                raise CheckpointError(f"{file.path}: key_mapping has {pattern!r}, no regular expression ({e}).") from e
            if new in self._places:
                raise CheckpointError(f"{file.path}: key_mapping makes {self._places[new]} and {name} both {new}.")
            self._places[new] = name
        self.stored = {new: file.stored[name] for new, name in self._places.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, name: str) -> np.ndarray:
        return self._file.read(self._places[name])


class MappedCheckpoint:
    """A file seen under PyTorch's full names and orientation.

    `stored` and `read` go by those names. What is no weight of a MobileBERT keeps the name it has in the file and
    stands in `unknown`, so that whoever loads it can report it; what no model has a place for stands in `dropped`,
    with the reason.

    Args:
        file: the reader of the file.
        layout: the format by which the table says how arrays lie here: "torch", "h5", "tf1", "tf2" or "keras".
        weights: name in the file -> the weight it is.
        dropped: name in the file -> why no model has it.
        empty: weights without elements that the file leaves out.

    Raises:
        CheckpointError: when two names are the same weight.
    """

    def __init__(
        self,
        file: WeightFile,
        layout: str,
        weights: Mapping[str, Weight],
        dropped: Mapping[str, str],
        empty: Iterable[Weight] = (),
    ) -> None:
        self.path = file.path
        self.layout = layout
        self.dropped = {**getattr(file, "dropped", {}), **dropped}  # what the reader passes over, too
        self.places: dict[str, str] = {}  # name here -> name in the file
        self.stored: dict[str, TensorInfo] = {}
        self.unknown = [name for name in file.stored if name not in weights and name not in dropped]
        self._file = file
        self._weights: dict[str, Weight] = {}
        for name, found in file.stored.items():
            if name in dropped:
                continue
            weight = weights.get(name)
            full_name = name if weight is None else weight.full_name
            if full_name in self.places:
                raise CheckpointError(f"{file.path}: {self.places[full_name]} and {name} are both {full_name}.")
            self.places[full_name] = name
            if weight is not None:
                self._weights[full_name] = weight
                found = TensorInfo(_shape_from(found.shape, weight, layout), found.dtype)
            self.stored[full_name] = found
        self._empty = {weight.full_name: np.zeros(weight.shape, np.float32) for weight in empty}
        self.stored |= {name: TensorInfo(array.shape, str(array.dtype)) for name, array in self._empty.items()}

    def leave_out(self, names: Iterable[str]) -> None:
        """Moves unknown names to `dropped`. Raises CheckpointError for a name that is none of them."""
        left, unknown = dict.fromkeys(names), set(self.unknown)
        for name in left:
            if name not in unknown:
                raise CheckpointError(
                    f"{self.path}: {name!r} cannot be left out: it is no unknown name of the file. Unknown are "
                    f"{', '.join(self.unknown[:8]) or 'none'}."
                )
            del self.stored[name]
            self.dropped[name] = "left out on request"
        self.unknown = [name for name in self.unknown if name not in left]

    def read(self, name: str) -> np.ndarray:
        """One array, contiguous. Raises CheckpointError when it holds a number that is not finite."""
        if name in self._empty:
            return self._empty[name]
        array = self._file.read(self.places[name])
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise CheckpointError(
                f"{self.path}: {self.places[name]} {array.shape} holds {bad:,} values that are NaN or infinite, and a "
                "model would answer NaN. Nothing was loaded; fetch the file again, or go back to an earlier checkpoint."
            )
        return _array_from(array, self._weights[name], self.layout) if name in self._weights else array

    def raw(self, name: str) -> np.ndarray:
        """One array as it lies in the file, whatever values it holds."""
        return self._empty[name] if name in self._empty else self._file.read(self.places[name])


def _shape_from(stored: tuple[int, ...], weight: Weight, layout: str) -> tuple[int, ...]:
    """A shape in PyTorch's orientation; a wrong one stays recognizable."""
    if layout == "tf2" and stored == weight.tf2_shape:
        return weight.shape
    return stored[::-1] if layout in weight.transposed and len(stored) == 2 else stored


def _array_from(array: np.ndarray, weight: Weight, layout: str) -> np.ndarray:
    transposed = layout in weight.transposed
    if layout == "tf2" and array.shape == weight.tf2_shape:  # heads and their size become one axis
        array = array.reshape(weight.shape[::-1] if transposed else weight.shape)
    return np.ascontiguousarray(array.T) if transposed else array


def by_name(weights: Iterable[Weight], layout: str) -> dict[str, Weight]:
    """The weights by their name in one format, without those it does not store."""
    return {name: weight for weight in weights if (name := getattr(weight, layout)) is not None}

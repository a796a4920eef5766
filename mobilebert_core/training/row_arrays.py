"""Rows of model input as a few flat arrays: they cost no Python object each, and lie in a file as they are.

R rows, N tokens of all rows together, M labels of all rows together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

MakeRow = Callable[[list[int], list[int], Any, int], Any]  # ids, token types, labels, number -> a row of the task


@dataclass(frozen=True)
class RowArrays:
    """Rows one behind the other.

    Attributes:
        arrays: `input_ids` (N,) uint16, or uint32 for more words than that holds;
            `ends` (R,) int64, where the next row begins;
            `firsts` (R,) int32, tokens of type 0, the others being of type 1; not there where all are;
            `labels` (R,) int64 or float64, or with `label_ends` (R,) int64 a list for each row, (M,), which with
            `label_keys` (M,) int64 is a mapping; not there for rows without labels.
    """

    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays["ends"])

    @property
    def lengths(self) -> np.ndarray:
        """(R,) in tokens."""
        return np.diff(self.arrays["ends"], prepend=0)

    def row(self, place: int, number: int, make: MakeRow) -> Any:
        """One row, which the task calls by a number."""
        ends = self.arrays["ends"]
        begin, end = int(ends[place - 1]) if place else 0, int(ends[place])
        firsts = self.arrays.get("firsts")
        first = end - begin if firsts is None else int(firsts[place])
        types = [0] * first + [1] * (end - begin - first)
        return make(self.arrays["input_ids"][begin:end].tolist(), types, self._label(place), number)

    def _label(self, place: int) -> Any:
        labels, ends = self.arrays.get("labels"), self.arrays.get("label_ends")
        if labels is None:
            return None
        if ends is None:
            return labels[place].item()
        own = slice(int(ends[place - 1]) if place else 0, int(ends[place]))
        keys = self.arrays.get("label_keys")
        values = labels[own].tolist()
        return values if keys is None else dict(zip(keys[own].tolist(), values, strict=True))


def id_dtype(words: int) -> Any:
    """The dtype of `input_ids` for a vocabulary of so many words."""
    return np.uint16 if words <= 1 << 16 else np.uint32


def flat(rows: Sequence[Sequence[int]], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lists of numbers one behind the other, and the length of each."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter(itertools.chain.from_iterable(rows), dtype, int(lengths.sum())), lengths


def joined(parts: Iterable[RowArrays]) -> RowArrays:
    """Rows of several arrays as one; places in them move along."""
    found = [part.arrays for part in parts]
    arrays = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    for name, of in (("ends", "input_ids"), ("label_ends", "labels")):
        if name in arrays:
            shifts = np.cumsum([0, *(len(part[of]) for part in found[:-1])])
            arrays[name] = arrays[name] + np.repeat(shifts, [len(part[name]) for part in found])
    return RowArrays(arrays)


def arrays_of(rows: Sequence[Any], words: int) -> RowArrays | None:
    """Rows with `input_ids`, `token_type_ids` and `labels`; None for those whose labels are of no kind that fits."""
    if any(row.input_ids and isinstance(row.input_ids[0], list) for row in rows):
        return None  # several choices
    ids, lengths = flat([row.input_ids for row in rows], id_dtype(words))
    arrays = {"input_ids": ids, "ends": np.cumsum(lengths)}
    firsts = np.array([row.token_type_ids.count(0) for row in rows], np.int32)
    if (firsts != lengths).any():
        arrays["firsts"] = firsts
    labels = [row.labels for row in rows]
    kinds = {type(label) for label in labels}
    if kinds <= {int}:
        arrays["labels"] = np.array(labels, np.int64)
    elif kinds <= {int, float}:
        arrays["labels"] = np.array(labels, np.float64)
    elif kinds == {list}:
        arrays["labels"], counts = flat(labels, np.int64)
        arrays["label_ends"] = np.cumsum(counts)
    elif kinds == {dict}:
        arrays["label_keys"], counts = flat([list(label) for label in labels], np.int64)
        arrays["labels"], _ = flat([list(label.values()) for label in labels], np.float64)
        arrays["label_ends"] = np.cumsum(counts)
    else:
        return None
    return RowArrays(arrays)


class ArrayRows(Sequence[Any]):
    """Rows of arrays that are in memory, made when they are asked for."""

    def __init__(self, arrays: RowArrays, make: MakeRow) -> None:
        self.arrays, self.make = arrays, make
        self.lengths = arrays.lengths

    def __len__(self) -> int:
        return len(self.arrays)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        return self.arrays.row(number, number, self.make)

"""Rows of model input as a few flat arrays: they cost no Python object each, and lie in a file as they are.

R rows, N tokens of all rows together, M labels of all rows together, C choices of a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .lazy_sequence import LazySequence

MakeRow = Callable[[list[Any], list[Any], Any, int], Any]  # ids, token types, labels, number -> a row of the task


@dataclass(frozen=True)
class RowArrays:
    """Rows one after the other.

    Attributes:
        arrays: `input_ids` (N,) uint16, or uint32 for more words than that holds;
            `ends` (R,) int64, where the next row begins;
            `choice_ends` (R * C,) int64, where the next choice begins; not there where rows have no choices;
            `firsts` (R,), with choices (R * C,), int32, tokens of type 0, the others being of type 1; not there
            where all are;
            `labels` (R,) int64 or float64, or with `label_ends` (R,) int64 a list for each row, (M,), which with
            `label_keys` (M,) int64 is a mapping; not there for rows without labels.
    """

    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays["ends"])

    @property
    def lengths(self) -> np.ndarray:
        """(R,) in tokens, of the longest choice where there are several."""
        lengths = np.diff(self._text_ends, prepend=0)
        return lengths.reshape(len(self), -1).max(axis=1) if "choice_ends" in self.arrays else lengths

    @property
    def _text_ends(self) -> np.ndarray:
        """Where each run of tokens ends that is a row, or a choice of one."""
        return self.arrays.get("choice_ends", self.arrays["ends"])

    def row(self, place: int, number: int, make: MakeRow) -> Any:
        """One row, which the task calls by a number."""
        if "choice_ends" not in self.arrays:
            ids, types = self._text(place)
            return make(ids, types, self._label(place), number)
        count = len(self.arrays["choice_ends"]) // len(self)
        texts = [self._text(place * count + choice) for choice in range(count)]
        return make([ids for ids, _ in texts], [types for _, types in texts], self._label(place), number)

    def _text(self, place: int) -> tuple[list[int], list[int]]:
        """The ids and token types of one run of tokens."""
        ends = self._text_ends
        begin, end = int(ends[place - 1]) if place else 0, int(ends[place])
        firsts = self.arrays.get("firsts")
        first = end - begin if firsts is None else int(firsts[place])
        return self.arrays["input_ids"][begin:end].tolist(), [0] * first + [1] * (end - begin - first)

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
    """Lists of numbers one after the other, and the length of each."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter(itertools.chain.from_iterable(rows), dtype, int(lengths.sum())), lengths


def joined(parts: Sequence[RowArrays]) -> RowArrays:
    """Rows of several arrays as one; places in them move along.

    Raises:
        DataError: for rows with different numbers of choices.
    """
    found = [part.arrays for part in parts]
    if any("firsts" in part for part in found):
        found = [_with_firsts(part) for part in found]
    arrays = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    for name, of in (("ends", "input_ids"), ("choice_ends", "input_ids"), ("label_ends", "labels")):
        if name in arrays:
            shifts = np.cumsum([0, *(len(part[of]) for part in found[:-1])])
            arrays[name] = arrays[name] + np.repeat(shifts, [len(part[name]) for part in found])
    counts = {len(part["choice_ends"]) / len(part["ends"]) for part in found if "choice_ends" in part}
    if len(counts) > 1:
        raise _different_choices(counts)
    return RowArrays(arrays)


def _with_firsts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of rows with `firsts` among them, though all tokens may be of type 0."""
    ends = arrays.get("choice_ends", arrays["ends"])
    return {"firsts": np.diff(ends, prepend=0).astype(np.int32), **arrays}


def _different_choices(counts: Iterable[float]) -> DataError:
    least, *_, most = sorted(counts)
    return DataError(f"rows: wanted the same number of choices in each, got {least:g} and {most:g}. Read them apart.")


def arrays_of(rows: Sequence[Any], words: int) -> RowArrays:
    """Rows with `input_ids`, `token_type_ids` and `labels`, which are None or numbers, lists of them or mappings.

    Raises:
        DataError: for rows with different numbers of choices.
    """
    texts = [row.input_ids for row in rows]
    types = [row.token_type_ids for row in rows]
    choices = len(texts[0]) if isinstance(texts[0][0], list) else 0
    if choices:
        if len(counts := {len(each) for each in texts}) > 1:
            raise _different_choices(counts)
        texts, types = ([*itertools.chain.from_iterable(each)] for each in (texts, types))
    ids, lengths = flat(texts, id_dtype(words))
    ends = np.cumsum(lengths)
    arrays = {"input_ids": ids, "ends": ends}
    if choices:
        arrays |= {"ends": ends[choices - 1 :: choices], "choice_ends": ends}
    firsts = np.array([each.count(0) for each in types], np.int32)
    if (firsts != lengths).any():
        arrays["firsts"] = firsts
    labels = [row.labels for row in rows]
    if isinstance(labels[0], dict):
        arrays["label_keys"], lengths = flat([list(label) for label in labels], np.int64)
        arrays["labels"], _ = flat([list(label.values()) for label in labels], np.float64)
        arrays["label_ends"] = np.cumsum(lengths)
    elif isinstance(labels[0], list | tuple):
        arrays["labels"], lengths = flat(labels, np.int64)
        arrays["label_ends"] = np.cumsum(lengths)
    elif labels[0] is not None:
        arrays["labels"] = np.array(labels, np.float64 if any(isinstance(each, float) for each in labels) else np.int64)
    return RowArrays(arrays)


class ArrayRows(LazySequence[Any]):
    """Rows of arrays that are in memory, made when they are asked for."""

    def __init__(self, arrays: RowArrays, make: MakeRow) -> None:
        self.arrays, self.make = arrays, make
        self.lengths = arrays.lengths

    def __len__(self) -> int:
        return len(self.arrays)

    def item(self, number: int) -> Any:
        return self.arrays.row(number, number, self.make)

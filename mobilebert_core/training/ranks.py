"""The processes that train one model together, its ranks, and which rows of a batch each of them computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class BatchPart:
    """Which rows of a batch these are: from `first` on, of `rows` in all, padded to the longest of them, `length`."""

    first: int
    rows: int
    length: int


class IdleBatch(dict[str, np.ndarray]):
    """A batch that counts for nothing. A rank without rows computes it, because all ranks step together."""


class Ranks:
    """The ranks of a training, seen from one of them: here a process that is alone.

    Attributes:
        rank: the number of this process; the one of number 0, the first, writes the files.
        count: how many processes there are.
        sharded: whether each holds a part of every weight, so that all of them compute together.
    """

    rank = 0
    count = 1
    sharded = False

    def gather(self, value: T) -> list[T]:
        """The values of all ranks in their order; on others than the first an empty list."""
        return [value]

    def first(self, make: Callable[[], T]) -> T:
        """What the first rank makes, on every rank; what it raises is raised on every rank."""
        return make()

    def wait(self) -> None:
        """Waits until every rank has come so far."""
        return None


ALONE = Ranks()


def rank_batch(
    batch: Callable[..., dict[str, np.ndarray]],
    rows: Sequence[Any],
    lengths: np.ndarray,
    places: np.ndarray,
    rng: np.random.Generator,
    ranks: Ranks,
) -> dict[str, np.ndarray]:
    """The arrays of this rank's rows of a batch, which are those of one process with the whole batch.

    Args:
        batch: makes arrays of rows, with `part` of some of the rows.
        lengths: of all rows, in tokens.
        places: the rows of the batch.
    """
    if ranks.count == 1:
        return batch([rows[i] for i in places], rng)
    first, last = (len(places) * number // ranks.count for number in (ranks.rank, ranks.rank + 1))
    part = BatchPart(min(first, len(places) - 1), len(places), int(lengths[places].max()))
    arrays = batch([rows[i] for i in places[part.first : max(last, part.first + 1)]], rng, part=part)
    return arrays if last > first else IdleBatch(arrays)


def lengths_of(rows: Sequence[Any]) -> np.ndarray:
    """The lengths of rows in tokens; rows in files know them without being read."""
    known = getattr(rows, "lengths", None)
    return np.array([row.length for row in rows], np.int64) if known is None else known


def is_in_blocks(rows: Sequence[Any]) -> bool:
    """Whether rows lie in files, where those that are read together should lie near each other."""
    return bool(getattr(rows, "in_blocks", False))

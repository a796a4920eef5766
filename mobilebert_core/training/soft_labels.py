"""Labels of a teacher beside those of a file: rows with the teacher's scores, and what a batch holds of them.

The teacher looks at every row once, before the training; its scores travel with the row. So any teacher will do that
gives scores for the same texts, whatever its vocabulary and its framework. B rows, S tokens of the longest, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..heads import HEADS, Head
from .recipe import is_number
from .tasks.labelled_task import FeatureRow

TEACHER = "teacher."  # before the name of an output, in a batch
GENERIC = "LABEL_"  # begins the names of labels that have none


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """How much is learned from a teacher, and how.

    Attributes:
        hard_share: of the labels of the file in the loss; the rest is the teacher's.
        temperature: both sides' scores are divided by it, and the loss is multiplied by its square.
    """

    hard_share: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not (is_number(self.hard_share) and 0 <= self.hard_share < 1):
            raise ConfigError(f"teacher: hard_share must be from 0 to below 1, got {self.hard_share!r}.")
        if not (is_number(self.temperature) and math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"teacher: temperature must be a number above 0, got {self.temperature!r}.")


@dataclass(frozen=True, slots=True)
class TaughtRow:
    """A row and the teacher's scores of it by the name of the output, without the batch axis."""

    row: FeatureRow
    scores: Mapping[str, np.ndarray]

    @property
    def length(self) -> int:
        return self.row.length


def taught_batch(
    batch: Callable[..., dict[str, np.ndarray]], head: Head
) -> Callable[[list[TaughtRow], np.random.Generator], dict[str, np.ndarray]]:
    """The function that makes a batch of rows with their teacher's scores: (B, C), (B, S, C) or (B, S) float32."""

    def make(rows: list[TaughtRow], rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = batch([row.row for row in rows], rng)
        length = found["input_ids"].shape[-1]
        for task in head.tasks:
            scores = [np.asarray(row.scores[task.logits], np.float32) for row in rows]
            if task.per_token or task.kind == "span":  # an array as long as the row, with nothing for padding
                ends = [((0, length - len(each)), *[(0, 0)] * (each.ndim - 1)) for each in scores]
                scores = [np.pad(each, end) for each, end in zip(scores, ends, strict=True)]
            found[TEACHER + task.logits] = np.stack(scores)
        return found

    return make


def order_of_labels(teacher: MobileBertConfig, student: MobileBertConfig, head: str) -> list[int] | None:
    """The teacher's label of each label of the student, by name; None where the head has none with names.

    Labels without names of their own on one side are taken in their order.

    Raises:
        ConfigError: for other labels.
    """
    if all(task.classes != "num_labels" for task in HEADS[head].tasks):
        return None
    theirs, ours = ({i: str(n) for i, n in (config.id2label or {}).items()} for config in (teacher, student))
    names = {name: number for number, name in theirs.items()}
    if {*names} == {*ours.values()}:
        return [names[ours[i]] for i in range(len(ours))]
    nameless = any(all(name.startswith(GENERIC) for name in side.values()) for side in (theirs, ours))
    if len(theirs) == len(ours) and nameless:
        return list(range(len(ours)))
    raise ConfigError(
        f"teacher: wanted one with the labels of the data ({_few(ours.values())}), got {_few(theirs.values())}. "
        "Train the teacher on the same labels."
    )


def _few(names: Any) -> str:
    names = list(names)
    return ", ".join(map(str, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def in_order(scores: Sequence[Mapping[str, np.ndarray]], order: list[int] | None) -> list[dict[str, np.ndarray]]:
    """Scores of rows with the labels in the student's order."""
    return [{n: a if order is None else a[..., order] for n, a in each.items()} for each in scores]

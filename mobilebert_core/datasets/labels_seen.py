"""What the labels of a data set are, by having seen each once: no row is kept."""

from __future__ import annotations

import math
from typing import Any

from ..configuration.fields import REGRESSION
from .examples import ReadOptions
from .label_cells import IGNORED, numbers_of
from .labels import number


class LabelsSeen:
    """Sees what stands for the labels of each row, as `add` is passed it.

    Attributes:
        learns_numbers: whether -100 is a number like others: in regression, which one number that is not whole means
            too.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._separator = options.label_separator
        self._said = options.problem_type is not None or options.label_names is not None
        self.learns_numbers = options.problem_type == REGRESSION
        self._names: set[str] = set()  # that are known to say nothing of numbers
        self._length: int | None = None  # of the lists of numbers; 0 where they have several or cannot be vectors
        self._first: tuple[Any, ...] | None = None
        self._only_vectors = False  # whether any says that they are no lists of labels

    @property
    def length_of_vectors(self) -> int | None:
        """How long the lists are, where they can only be vectors with a number from 0 to 1 for each label; else None.

        They have one length, and at least one says so: a list of labels has none of them twice, and no fractions, and
        from row to row the same two labels do not change places.
        """
        return self._length if self._length and self._only_vectors else None

    def add(self, value: Any) -> None:
        """Looks at the labels of one more row."""
        if isinstance(value, str):
            if value in self._names:
                return
            if len(self._names) < _NAMES_KEPT and self._separator is None:
                self._names.add(value)
        if not self._said and not self.learns_numbers and isinstance(value, str | float):
            found = number(str(value).strip())
            self.learns_numbers = found is not None and math.isfinite(found) and not found.is_integer()
        if self._length != 0 and (numbers := numbers_of(value, self._separator)) is not None:
            self._add_numbers(numbers)

    def _add_numbers(self, numbers: list[Any]) -> None:
        present = [n for n in numbers if n is not None and not math.isnan(n) and n != int(IGNORED)]
        if self._length is None:
            self._length, self._first = len(numbers), tuple(numbers)
        if len(numbers) != self._length or self._length < 2 or not all(0 <= n <= 1 for n in present):
            self._length = 0
            return
        fractions = any(isinstance(n, float | bool) for n in present)
        doubled = len({*numbers}) < len(numbers)
        self._only_vectors = self._only_vectors or fractions or doubled or tuple(numbers) != self._first


_NAMES_KEPT = 1 << 16

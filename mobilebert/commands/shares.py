"""The share of one job of many in the inputs of `mobilebert predict`, cut where batches are cut in any case."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from mobilebert_core.datasets.inputs import InputRow


@dataclass(frozen=True)
class Share:
    """The job of a number, from 1, of so many."""

    number: int = 1
    count: int = 1

    def rows(self, rows: Iterator[InputRow], window: int) -> Iterator[InputRow]:
        """The rows of every `count`th window of the input, which say in which window they are.

        Batches are made of the rows of one window. So the numbers of an answer, to the last bit, are the same into
        however many jobs the work is cut.
        """
        for place, row in enumerate(rows):
            if place // window % self.count == self.number - 1:
                yield dataclasses.replace(row, window=place // window)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def share(text: str) -> Share:
    """The share that "2/7" names, as an argument of the command."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"wanted I/N with I from 1 to N, such as 2/7, got {text!r}")
    return Share(int(number), int(count))

"""Long texts in overlapping windows, and which window gives a token its largest context (released code, run_squad.py).

T tokens of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """Tokens `start` up to, not including, `end` of a text.

    `is_max_context`: whether this window gives the token its largest context (BERT's max-context rule).
    """

    start: int
    end: int
    is_max_context: np.ndarray  # (end - start,) of booleans


def weighted_mean(windows: Sequence[Window | None], values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of what windows give, each by the number of tokens that it knows best; of one alone its own."""
    if len(values) == 1:
        return values[0]
    weights = [1 if window is None else int(window.is_max_context.sum()) for window in windows]
    return np.average(np.stack(values), axis=0, weights=weights)


def windows_over(length: int, room: int, step: int) -> list[Window]:
    """Windows of `room` tokens, each `step` further on, the last one ending with the text.

    A token that stands in several belongs to the one where the smaller of its contexts, left and right, is largest
    (a hundredth of the window's length is added, so that full windows win; the first one wins a tie).
    """
    step = min(step, room)
    starts = [0]
    while starts[-1] + room < length:
        starts.append(starts[-1] + step)
    spans = [(start, min(start + room, length)) for start in starts]
    best = np.full(length, -np.inf)
    owner = np.zeros(length, np.int64)
    for number, (start, end) in enumerate(spans):
        place = np.arange(end - start)
        context = np.minimum(place, place[::-1]) + 0.01 * (end - start)
        better = context > best[start:end]
        best[start:end][better] = context[better]
        owner[start:end][better] = number
    return [Window(start, end, owner[start:end] == number) for number, (start, end) in enumerate(spans)]

"""Where words of any length begin and end, and which letters they have, found with little memory.

A text is looked at a stretch at a time.
A search with a regular expression takes three to twenty times as long, which shows in words of millions of letters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from .character_classes import DIVIDING_RANGES, code_points

_FIRST, _GROWTH, _LARGEST = 1 << 4, 16, 1 << 16  # characters looked at together: few in prose, many in endless words
_ALL_POINTS = 0x110000


@functools.cache
def _divides() -> np.ndarray:
    """For each code point whether it divides words under some settings: (0x110000,) bool."""
    table = np.zeros(_ALL_POINTS, bool)
    for first, last in code_points(DIVIDING_RANGES):
        table[first : last + 1] = True
    return table


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_plain(text: str) -> bool:
    """Whether all are letters and digits of ASCII: the quick test that settles most stretches of endless words."""
    return text.isascii() and text.encode().isalnum()


def _stretches(length: int) -> Iterator[tuple[int, int]]:
    start, size = 0, _FIRST
    while start < length:
        yield start, min(start + size, length)
        start, size = start + size, min(size * _GROWTH, _LARGEST)


def end_of_word(text: str, place: int, end: int) -> int:
    """The first place from `place` on, and before `end`, of a character that divides words; else `end`."""
    for first, last in _stretches(end - place):
        stretch = text[place + first : place + last]
        if _is_plain(stretch):
            continue
        dividing = _divides()[_points(stretch)]
        if (found := int(dividing.argmax())) or dividing[0]:
            return place + first + found
    return max(place, end)


def start_of_word(text: str, place: int) -> int:
    """The place after the last character before `place` that divides words; else 0."""
    for first, last in _stretches(place):
        stretch = text[place - last : place - first]
        if _is_plain(stretch):
            continue
        dividing = _divides()[_points(stretch)][::-1]
        if (found := int(dividing.argmax())) or dividing[0]:
            return place - first - found
    return 0


def letters_of(text: str, start: int, end: int) -> set[str]:
    """The different characters of a part of a text."""
    seen = np.zeros(_ALL_POINTS, bool)
    for first, last in _stretches(end - start):
        seen[_points(text[start + first : start + last])] = True
    return set(map(chr, np.flatnonzero(seen)))

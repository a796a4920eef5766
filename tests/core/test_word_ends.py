"""Where words of any length begin and end, against a regular expression of the same class."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mobilebert_core.text import word_ends
from mobilebert_core.text.character_classes import DIVIDING_CLASS
from mobilebert_core.text.word_ends import end_of_word, letters_of, start_of_word

DIVIDING = re.compile(f"[{DIVIDING_CLASS}]")
LETTERS = ("x", "Q7", "é", "한", "😀", "e\u0301", "\x00", "\u200d", "\ud800", "\U0001d15e", " ", ".", "\u3000", "日")


@pytest.fixture(params=[(1, 1), (2, 5), (256, 1 << 16)])
def stretches(request, monkeypatch):
    monkeypatch.setattr(word_ends, "_FIRST", request.param[0])
    monkeypatch.setattr(word_ends, "_LARGEST", request.param[1])


@pytest.mark.parametrize("seed", range(3))
def test_ends_and_starts_are_those_of_the_class(stretches, seed):
    rng = np.random.default_rng(seed)
    weights = np.ones(len(LETTERS)) if seed else np.array([9.0] * 10 + [1.0] * 4)
    for _ in range(40):
        text = "".join(rng.choice(LETTERS, int(rng.integers(0, 40)), p=weights / weights.sum()))
        for place in range(len(text) + 1):
            end = int(rng.integers(place, len(text) + 1))
            found = DIVIDING.search(text, place, end)
            assert end_of_word(text, place, end) == (found.start() if found else end)
            before = [match.end() for match in DIVIDING.finditer(text, 0, place)]
            assert start_of_word(text, place) == (before[-1] if before else 0)
            assert letters_of(text, place, end) == set(text[place:end])

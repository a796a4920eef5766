"""Texts far longer than what truncation keeps of them, of which only the beginning is tokenized."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mobilebert_core.text.batch_rows import Row
from mobilebert_core.text.encoding_options import EncodingOptions

_CHARACTERS = 16  # looked at for a token that is wanted; prose has 5
_GROWTH = 16  # of a beginning that was too short: little is tokenized again where all of a text is needed
_WORTH_IT = 4  # times as long as the beginning: below that all of it is tokenized
_AT_ONCE = 1 << 20  # characters of a long text that are counted together
_SPECIAL_OF_PAIR = 3
NEVER_LONG = _CHARACTERS * _WORTH_IT * 100  # characters that are tokenized whole at any length and vocabulary
_SPACE = re.compile(r"\s")
# Letters and digits of which every normalization makes one or more such, whatever stands beside them, so that none
# ends a word: ASCII, and the plain ones of Latin-1, Greek and Cyrillic.
_LETTERS = "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f"
_ALL_LETTERS = re.compile(f"[{_LETTERS}]+")


@dataclass(frozen=True)
class Beginnings:
    """Cuts long texts where the tokens that truncation keeps are sure to be those of the whole text.

    What a cut can change are the tokens of the word that it divides, and of an added token that it divides; these are
    `margin` tokens at most, and as many are had beyond what is wanted.

    Attributes:
        count: the number of tokens of a text.
        margin: tokens at the end of a cut text that are not relied on.
        at_spaces: whether no token has a space in it.
        word_end: letters at the ends of an endless word that decide its token; 0 where all of them may.
    """

    count: Callable[[str], int]
    margin: int
    at_spaces: bool
    word_end: int

    @classmethod
    def of(cls, count: Callable[[str], int], word: int, added: Iterable[str], places: bool) -> Beginnings:
        """For words of at most so many characters, and these added tokens as they are looked for.

        With `places` every text that comes back is a beginning of the one passed; without, an endless word may be
        shorter: it is the unknown token at any length, unless an added token of letters alone can be found in it.

        A character gives three tokens at most (a syllable of Hangul, taken apart).
        """
        texts = list(added)
        longest = max(map(len, texts), default=0)
        end = 0 if places or any(map(_ALL_LETTERS.fullmatch, texts)) else max(word + 1, longest)
        return cls(count, word + 4 * longest + 16, not any(map(_SPACE.search, texts)), end)

    def rows(self, rows: Sequence[Row], options: EncodingOptions) -> Sequence[Row]:
        """The rows, their long texts cut, for a truncation at the right."""
        wanted = options.max_length or 0
        first = _CHARACTERS * (wanted + self.margin)
        limit = _WORTH_IT * first
        if not any(_is_long(text, limit) for row in rows for text in row):
            return rows
        return [self._row(row, wanted, first, limit, options) for row in rows]

    def _row(self, row: Row, wanted: int, first: int, limit: int, options: EncodingOptions) -> Row:
        one, other = row
        if not isinstance(one, str) or not isinstance(other, str) or options.truncation != "longest_first":
            return (
                self._beginning(one, wanted, first) if _is_long(one, limit) else one,
                self._beginning(other, wanted, first) if _is_long(other, limit) else other,
            )
        # Which text of a pair is longer decides which has the token that cannot be shared: that must stay so.
        if not _is_long(other, limit):
            return self._beginning(one, max(wanted, self.count(other) + 1), first), other
        if not _is_long(one, limit):
            return one, self._beginning(other, max(wanted, self.count(one) + 1), first)
        if (wanted - _SPECIAL_OF_PAIR * options.add_special_tokens) % 2 == 0:
            return self._beginning(one, wanted, first), self._beginning(other, wanted, first)
        counts = self._total(one), self._total(other)
        if counts[0] == counts[1]:
            return row
        short = int(counts[0] > counts[1])
        texts = [one, other]
        beginning = self._beginning(texts[short], wanted, first)
        if self.count(beginning) <= counts[short]:  # the pieces of a word that is cut may be more than the rest has
            texts[short] = beginning
        texts[1 - short] = self._beginning(texts[1 - short], max(wanted, self.count(texts[short]) + 1), first)
        return texts[0], texts[1]

    def _total(self, text: str) -> int:
        """The number of tokens of a text, which is cut at spaces where no token has any: memory stays small."""
        total = start = 0
        while start < len(text):
            end = text.rfind(" ", start + 1, start + _AT_ONCE) if self.at_spaces else -1
            end = end if start + _AT_ONCE < len(text) and end > 0 else len(text)
            total += self.count(text[start:end])
            start = end
        return total

    def _beginning(self, text: str, wanted: int, size: int) -> str:
        """A beginning of a text with the tokens that are wanted, or the whole text where it has fewer."""
        while size < len(text):
            beginning = text[:size]
            short = self._with_short_words(text, beginning)
            if short is not text:
                text = short
                continue
            if self.count(beginning) - self.margin >= wanted:
                return beginning
            size *= _GROWTH
        return text

    def _with_short_words(self, text: str, seen: str) -> str:
        """The text, in which endless words have only their ends, if there is one in the part of it that is seen."""
        if not 0 < self.word_end < _AT_ONCE:
            return text
        endless = re.compile(f"(?<![{_LETTERS}])[{_LETTERS}]{{{2 * self.word_end + 1},}}")
        if not endless.search(seen):
            return text
        end = self.word_end
        return endless.sub(lambda word: word[0][:end] + word[0][-end:], text)


def same_places(cut: Sequence[Row], rows: Sequence[Row]) -> bool:
    """Whether a place in a text that was cut is the same in the whole text."""
    return cut is rows or all(
        a is b or not isinstance(a, str) or b.startswith(a)
        for one, all_of in zip(cut, rows, strict=True)
        for a, b in zip(one, all_of, strict=True)
    )


def some_long(rows: Sequence[Row]) -> bool:
    """Whether a text may be worth a look: a quick test, for every call."""
    return any(len(a) > NEVER_LONG or (b is not None and len(b) > NEVER_LONG) for a, b in rows)


def _is_long(text: Any, limit: int) -> bool:
    return isinstance(text, str) and len(text) > limit

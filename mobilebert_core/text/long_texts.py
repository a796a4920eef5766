"""Texts far longer than what truncation keeps of them, of which only a part at one end is tokenized."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .batch_rows import Row
from .character_classes import DIVIDING_CLASS, is_letter
from .encoding_options import EncodingOptions
from .word_ends import end_of_word, letters_of, start_of_word

_CHARACTERS = 16  # looked at for a token that is wanted; prose has 5
_GROWTH = 16  # of a part that was too short: little is tokenized again where all of a text is needed
_WORTH_IT = 4  # times as long as the part: below that all of it is tokenized
_AT_ONCE = 1 << 20  # characters of a long text that are counted together
_SPECIAL_OF_PAIR = 3
NEVER_LONG = _CHARACTERS * _WORTH_IT * 100  # characters that are tokenized whole at any length and vocabulary
_SPACE = re.compile(r"\s")
_DIVIDING = re.compile(f"[{DIVIDING_CLASS}]")
_LAST_OF_ASCII = 127

Gaps = tuple[tuple[int, int], ...]  # (place in a part, characters of the text that were left out before it)
RowGaps = tuple[Mapping[int | None, Gaps], Mapping[int | None, Gaps]]  # of both texts: by word, or of a text by None
NO_GAPS: RowGaps = ({}, {})


class Part(NamedTuple):
    """What is tokenized of a text, or of words that the caller split."""

    text: Any
    gaps: Mapping[int | None, Gaps] = {}


@functools.cache
def _words_of(length: int) -> re.Pattern[str]:
    """So many characters of which none divides words."""
    return re.compile(f"[^{DIVIDING_CLASS}]{{{length}}}")


def _endless_word(text: str, place: int, end: int, least: int) -> int | None:
    """Where the next word of at least so many characters begins; from a place where a word begins or another ended."""
    while place + least <= end:
        if (space := text.rfind(" ", place, place + least)) >= 0:
            place = space + 1
        elif _DIVIDING.match(text, place + least - 1):  # as in writing without spaces
            place += least
        elif _words_of(least).match(text, place, end):
            return place
        else:
            place = start_of_word(text, place + least)
    return None


@dataclass(frozen=True)
class Parts:
    """Cuts long texts where the tokens that truncation keeps are sure to be those of the whole text.

    What a cut can change are the tokens of the word that it divides, and of an added token that it divides; these are
    `margin` tokens at most, and as many are had beyond what is wanted. An endless word is the unknown token at any
    length, so that it is shortened in its middle, unless an added token can be found there.

    Attributes:
        count: the number of tokens of a text.
        normalize: a text as added tokens are looked up in it.
        margin: tokens at the cut end of a text that are not relied on.
        at_spaces: whether no token has a space in it.
        word_end: letters at the ends of an endless word that decide its token.
        inside: the added tokens that can lie inside a word.
        left: whether truncation takes tokens from the beginning.
        longer_first: whether of two texts the longer one gets the token that cannot be shared; else the first does.
    """

    count: Callable[[str], int]
    normalize: Callable[[str], str]
    margin: int
    at_spaces: bool
    word_end: int
    inside: tuple[str, ...]
    left: bool
    longer_first: bool

    @classmethod
    def of(
        cls,
        count: Callable[[str], int],
        normalize: Callable[[str], str],
        word: int,
        added: Iterable[str],
        left: bool,
        longer_first: bool,
    ) -> Parts:
        """For words of at most so many characters, and these added tokens as they are looked for.

        A character gives three tokens at most (a syllable of Hangul, taken apart).
        """
        texts = [text for text in added if text]
        longest = max(map(len, texts), default=0)
        inside = tuple(text for text in texts if not _DIVIDING.search(text))
        at_spaces = not any(map(_SPACE.search, texts))
        return cls(
            count, normalize, word + 4 * longest + 16, at_spaces, max(word + 1, longest), inside, left, longer_first
        )

    def rows(self, rows: Sequence[Row], options: EncodingOptions) -> tuple[Sequence[Row], Sequence[RowGaps]]:
        """The rows, their long texts cut, and the gaps of each; the rows themselves, and no gaps, for short ones."""
        wanted = options.max_length or 0
        first = _CHARACTERS * (wanted + self.margin)
        limit = _WORTH_IT * first
        if not any(_is_long(text, limit) for row in rows for text in row):
            return rows, ()
        parts = [self._row(row, wanted, first, limit, options) for row in rows]
        return [(a.text, b.text) for a, b in parts], [(a.gaps, b.gaps) for a, b in parts]

    def whole(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[RowGaps]]:
        """The rows as `rows` returns them, of which nothing but the middle of endless words is cut."""
        parts = [tuple(Part(None) if each is None else self._all_of(each) for each in row) for row in rows]
        if not any(part.gaps for row in parts for part in row):
            return rows, ()
        return [(a.text, b.text) for a, b in parts], [(a.gaps, b.gaps) for a, b in parts]

    def _all_of(self, text: Any) -> Part:
        if isinstance(text, str):
            part = self._with_short_words(text, 0, len(text)) if len(text) > NEVER_LONG else Part(text)
            return part if part.gaps else Part(text)
        words = [self._all_of(word) for word in text]
        gaps: dict[int | None, Gaps] = {n: part.gaps[None] for n, part in enumerate(words) if part.gaps}
        return Part([part.text for part in words], gaps) if gaps else Part(text)

    def _row(self, row: Row, wanted: int, first: int, limit: int, options: EncodingOptions) -> tuple[Part, Part]:
        one, other = row
        if other is None or options.truncation != "longest_first":
            return (
                self._part(one, wanted, first) if _is_long(one, limit) else Part(one),
                self._part(other, wanted, first) if _is_long(other, limit) else Part(other),
            )
        # Which text of a pair is longer decides which has the token that cannot be shared: that must stay so.
        if not _is_long(other, limit):
            return self._part(one, max(wanted, self._total(other) + 1), first), Part(other)
        if not _is_long(one, limit):
            return Part(one), self._part(other, max(wanted, self._total(one) + 1), first)
        odd = (wanted - _SPECIAL_OF_PAIR * options.add_special_tokens) % 2
        if not odd or not self.longer_first:
            return self._part(one, wanted, first), self._part(other, wanted, first)
        first_is_longer = self._is_longer(one, other)
        texts = (other, one) if first_is_longer else (one, other)
        short = self._part(texts[0], wanted, first)
        least = self._total(short.text) + first_is_longer
        long = self._part(texts[1], max(wanted, least), first)
        if self._total(long.text) < least:  # the pieces of a word that is cut may be more than the rest has
            return Part(one), Part(other)
        return (long, short) if first_is_longer else (short, long)

    # ------------------------------------------------------------------------------------------ counting

    def _total(self, text: Any) -> int:
        return sum(self._counts(text))

    def _counts(self, text: Any) -> Iterator[int]:
        """Numbers of tokens of one piece of a text after the other: memory stays small."""
        if not isinstance(text, str):
            yield from (self._total(word) for word in text)
            return
        start = 0
        while start < len(text):
            near = min(start + _AT_ONCE, len(text))
            stop = end_of_word(text, near, len(text))
            space = text.find(" ", stop) if self.at_spaces else -1
            end = space if space >= 0 else len(text)
            yield self.count(self._with_short_words(text, start, end, near, stop).text)
            start = end

    def _is_longer(self, one: Any, other: Any) -> bool:
        """Whether the first of two texts has more tokens; both are counted until one of them ends."""
        counts, totals, ended = (self._counts(one), self._counts(other)), [0, 0], [False, False]
        while not any(ended[i] and totals[1 - i] > totals[i] for i in (0, 1)) and not all(ended):
            behind = int(ended[0] or (not ended[1] and totals[1] < totals[0]))
            more = next(counts[behind], None)
            ended[behind] = more is None
            totals[behind] += more or 0
        return totals[0] > totals[1]

    # ------------------------------------------------------------------------------------------ parts

    def _part(self, text: Any, wanted: int, size: int) -> Part:
        """A part of a text with the tokens that are wanted, or as good as the whole text where it has fewer."""
        if not isinstance(text, str):
            return self._words(text, wanted, size)
        start = max(0, len(text) - size) if self.left else 0
        part = _joined([self._with_short_words(text, start, min(start + size, len(text)))], start)
        is_all = False
        while not is_all and self.count(part.text) - self.margin < wanted:
            part, is_all = self._end(text, size)
            size *= _GROWTH
        return part

    def _words(self, words: Sequence[str], wanted: int, size: int) -> Part:
        parts: list[Part] = []
        total = 0
        for word in reversed(words) if self.left else words:
            if total >= wanted:
                break
            parts.append(self._part(word, wanted - total, size) if len(word) > size else Part(word))
            total += self.count(parts[-1].text)
        parts = parts[::-1] if self.left else parts
        gaps: dict[int | None, Gaps] = {n: part.gaps[None] for n, part in enumerate(parts) if part.gaps}
        return Part([part.text for part in parts], gaps)

    def _end(self, text: str, size: int) -> tuple[Part, bool]:
        """So many characters at the end of a text that is kept, with endless words short, and whether that is all.

        It ends where a word does, unless that is an endless one which cannot be shortened.
        """
        parts: list[Part] = []
        place, last = (len(text), 0) if self.left else (0, len(text))
        length, is_cut = 0, False
        while length < size and place != last and not is_cut:
            near = max(place + length - size, 0) if self.left else min(place + size - length, last)
            far = start_of_word(text, near) if self.left else end_of_word(text, near, last)
            part = self._with_short_words(text, *sorted((place, far)), *sorted((near, far)))
            is_cut = len(part.text) >= 2 * size
            if is_cut:
                far, part = near, self._with_short_words(text, *sorted((place, near)))
            parts.append(part)
            length, place = length + len(part.text), far
        return _joined(parts[::-1] if self.left else parts, place if self.left else 0), place == last

    def _with_short_words(self, text: str, start: int, end: int, clear: int = 0, clear_to: int = 0) -> Part:
        """A stretch of a text in which endless words have only their ends.

        It is known that no word ends from `clear` to `clear_to`: there is no second look.
        """
        gaps: list[tuple[int, int]] = []
        pieces: list[str] = []
        length, least, last = 0, 2 * self.word_end + 1, start
        while (first := _endless_word(text, last, end, least)) is not None:
            last = end_of_word(text, first + least, max(clear, first + least))
            if last >= clear:
                last = end_of_word(text, max(last, clear_to), end)
            if kept := self._ends(text, first, last):
                pieces.append(text[start : first + kept[0]])
                length += len(pieces[-1])
                gaps.append((length, last - first - sum(kept)))
                start = last - kept[1]
        return Part("".join([*pieces, text[start:end]]), {None: tuple(gaps)} if gaps else {})

    def _ends(self, text: str, first: int, last: int) -> tuple[int, int] | None:
        """How much of an endless word stays at its two ends; None for one that must stay whole."""
        most = min(last - first, _CHARACTERS * self.word_end)
        head = _letters(text[first : first + most], self.word_end)
        tail = _letters(text[last - most : last][::-1], self.word_end)
        if not (head and tail and head + tail < last - first) or self._holds_token(text, first, last):
            return None
        return head, tail

    def _holds_token(self, text: str, first: int, last: int) -> bool:
        """Whether an added token may be found inside a word."""
        if not self.inside:
            return False
        normal = {ord(letter): self.normalize(letter) for letter in letters_of(text, first, last)}
        letters = {*map(chr, normal), *"".join(normal.values())}
        possible = [token for token in self.inside if letters.issuperset(token)]
        if not possible or max(normal) > _LAST_OF_ASCII:
            return bool(possible)
        word = text[first:last]
        normalized = word.translate(normal)  # in ASCII each character is normalized by itself
        return any(token in word or token in normalized for token in possible)


def _joined(parts: Sequence[Part], left_out: int) -> Part:
    """Parts that follow each other in a text, of which so many characters are left out before them."""
    gaps, length = [(0, left_out)] if left_out else [], 0
    for part in parts:
        gaps += [(length + place, count) for place, count in part.gaps.get(None, ())]
        length += len(part.text)
    return Part("".join(part.text for part in parts), {None: tuple(gaps)} if gaps else {})


def _letters(word: str, wanted: int) -> int:
    """How much of the beginning of a word has so many letters that every normalization keeps; 0 where it has fewer."""
    if word[:wanted].isascii() and word[:wanted].isalnum():
        return wanted
    found = 0
    for number, char in enumerate(word, 1):
        found += is_letter(char)
        if found == wanted:
            return number
    return 0


def moved(span: tuple[int, int], gaps: Gaps) -> tuple[int, int]:
    """Characters of a part as those of the text."""
    start, last = (place + sum(count for at, count in gaps if at <= place) for place in (span[0], span[1] - 1))
    return start, last + 1


def some_long(rows: Sequence[Row]) -> bool:
    """Whether a text may be worth a look: a quick test, for every call."""
    return any(_is_long(a, NEVER_LONG) or (b is not None and _is_long(b, NEVER_LONG)) for a, b in rows)


def _is_long(text: Any, limit: int) -> bool:
    if text is None:
        return False
    return len(text) > limit or (not isinstance(text, str) and any(len(word) > limit for word in text))

"""Text to words: BERT's cleaning, lower-casing, accent stripping and splitting, with places in the original text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import character_classes as cc

# Only these can make canonical ordering visible: other combining marks are stripped, in whatever order.
_ORDERED_MARKS = re.compile(f"[{cc.ORDERED_MARK_CLASS}]")


class _CharacterTable(dict[int, str]):
    """What each code point becomes; filled as characters are met, for `str.translate`."""

    def __init__(self, *, clean: bool, chinese: bool, strip: bool, lower: bool) -> None:
        super().__init__()
        self._clean, self._chinese, self._strip, self._lower = clean, chinese, strip, lower

    def __missing__(self, point: int) -> str:
        text = self[point] = self.before_accents(chr(point))
        if self._strip:
            text = self[point] = "".join(part for char in text for part in cc.decompose(char) if not cc.is_mark(part))
        if self._lower:
            text = self[point] = "".join(cc.lower(char) for char in text)
        return text

    def before_accents(self, char: str) -> str:
        if self._clean:
            if cc.is_control(char):
                return ""
            if cc.is_whitespace(char):
                return " "
        if self._chinese and cc.is_chinese(char):
            return f" {char} "
        return char


@dataclass(frozen=True)
class TextNormalizer:
    """BERT's normalization of characters; each becomes zero or more characters, whatever stands beside it.

    `strip_accents=None` means: strip exactly when lower-casing. `alignment` says which original character each
    normalized one comes from.
    """

    clean_text: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    do_lower_case: bool = True
    _table: _CharacterTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = _CharacterTable(
            clean=self.clean_text, chinese=self.tokenize_chinese_chars, strip=self.strips, lower=self.do_lower_case
        )
        object.__setattr__(self, "_table", table)

    @property
    def strips(self) -> bool:
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    def normalize(self, text: str) -> str:
        """The normalized text."""
        if self.strips and not text.isascii() and _ORDERED_MARKS.search(text):
            return self._normalize_ordered(text)[0]
        return text.translate(self._table)

    def normalize_aligned(self, text: str) -> tuple[str, list[int] | range]:
        """The normalized text and, for each of its characters, the index of the original one."""
        if self.strips and not text.isascii() and _ORDERED_MARKS.search(text):
            return self._normalize_ordered(text)
        normalized = text.translate(self._table)
        if text.isascii() and len(normalized) == len(text):  # an ASCII character becomes one character or none
            return normalized, range(len(text))
        table = self._table
        return normalized, [index for index, char in enumerate(text) for _ in table[ord(char)]]

    def _normalize_ordered(self, text: str) -> tuple[str, list[int]]:
        """As above with canonical ordering of combining marks. A moved mark takes the place of the one it passes."""
        places: list[int] = []  # of the characters that cleaning leaves
        parts: list[tuple[str, bool]] = []  # decomposed characters; whether one opens its original character
        for index, char in enumerate(text):
            for kept in self._table.before_accents(char):
                places.append(index)
                parts += [(part, first == 0) for first, part in enumerate(cc.decompose(kept))]
        start = 0
        while start < len(parts):
            end = start + 1
            if cc.combining_class(parts[start][0]):
                while end < len(parts) and cc.combining_class(parts[end][0]):
                    end += 1
                parts[start:end] = sorted(parts[start:end], key=lambda part: cc.combining_class(part[0]))
            start = end
        output: list[str] = []
        alignment: list[int] = []
        place = -1
        for part, opens in parts:
            place += opens
            if not cc.is_mark(part):
                lowered = cc.lower(part) if self.do_lower_case else part
                output.append(lowered)
                alignment += [places[max(place, 0)]] * len(lowered)
        return "".join(output), alignment


_WORDS = re.compile(f"[^{cc.SPACE_CLASS}{cc.PUNCTUATION_CLASS}]+|[{cc.PUNCTUATION_CLASS}]")
_UNSPACED = re.compile(f"[^{cc.SPACE_CLASS}]+")


class BasicTokenizer:
    """Splits text into words at spaces, punctuation and ideographs, and normalizes their characters.

    A whitespace-delimited token in `never_split` (as written, or after normalization) stays whole; as written it
    also keeps its case and accents. With `do_split_on_punc=False` punctuation stays inside words.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        do_split_on_punc: bool = True,
        clean_text: bool = True,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.never_split = set(never_split or ())
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.do_split_on_punc = do_split_on_punc
        self.clean_text = clean_text
        self.normalizer = TextNormalizer(clean_text, tokenize_chinese_chars, strip_accents, do_lower_case)
        self._spacing = TextNormalizer(clean_text, tokenize_chinese_chars, False, False)
        self._pattern = _WORDS if do_split_on_punc else _UNSPACED

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        """The words of `text`, normalized."""
        kept = self.never_split.union(never_split or ())
        if not kept:
            return self._pattern.findall(self.normalizer.normalize(text))
        words: list[str] = []
        for word, start, end in self.cut_kept(text, kept):
            words += self._pattern.findall(self.normalizer.normalize(text[start:end])) if word is None else [word]
        return words

    def words_of_normalized(self, normalized: str) -> Iterable[re.Match[str]]:
        """Matches of the words of a text that is already normalized."""
        return self._pattern.finditer(normalized)

    def cut_kept(self, text: str, kept: set[str]) -> list[tuple[str | None, int, int]]:
        """Cuts `text` into (kept token or None, start, end); together the cuts cover it all."""
        spaced, alignment = self._spacing.normalize_aligned(text)
        cuts: list[tuple[str | None, int, int]] = []
        done = 0
        for match in _UNSPACED.finditer(spaced):
            word = match.group()
            if word not in kept:
                word = self.normalizer.normalize(word)
                if word not in kept:
                    continue
            start, end = alignment[match.start()], alignment[match.end() - 1] + 1
            cuts += [(None, done, start), (word, start, end)]
            done = end
        cuts.append((None, done, len(text)))
        return [cut for cut in cuts if cut[1] < cut[2]]

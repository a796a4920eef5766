"""Text to pieces in pure Python: added tokens, then words, then WordPiece, with places in the original text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .added_tokens import AddedToken, AddedTokenMatcher
from .basic_tokenization import BasicTokenizer
from .long_texts import Gaps, moved
from .wordpiece import WordpieceTokenizer

_CACHED_WORDS = 1 << 17  # about 20 MB when full; English text fills a fraction of it


@dataclass
class Pieces:
    """One sequence, piece by piece: ids, texts (as matched), (start, end) in the original text, index of the word."""

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    words: list[int] = field(default_factory=list)

    def extend(self, other: Pieces) -> None:
        self.ids += other.ids
        self.tokens += other.tokens
        self.offsets += other.offsets
        self.words += other.words


class _WordIds(dict[str, tuple[int, ...]]):
    """Ids of the pieces of each word met so far."""

    def __init__(self, wordpiece: WordpieceTokenizer) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        vocab = self._wordpiece.vocab
        ids = tuple([vocab[piece] for piece in self._wordpiece.split_word(word)])
        if len(word) <= self._wordpiece.max_input_chars_per_word:  # others may be endless
            self[word] = ids
        return ids


class TextSplitter:
    """The whole way from text to ids for one state of a tokenizer; made anew when that state changes.

    `basic=None` splits at whitespace only and leaves the characters as they are.
    """

    def __init__(
        self,
        basic: BasicTokenizer | None,
        wordpiece: WordpieceTokenizer,
        added: Mapping[int, AddedToken],
        tokens: Mapping[int, str],
    ) -> None:
        self._basic = basic
        self._wordpiece = wordpiece
        self._tokens = tokens
        self._word_ids = _WordIds(wordpiece)
        self._matchers = {split: self._make_matchers(added, split) for split in (False, True)}

    def _make_matchers(
        self, added: Mapping[int, AddedToken], split_special: bool
    ) -> tuple[AddedTokenMatcher, AddedTokenMatcher]:
        listed = [(index, token) for index, token in added.items() if not (split_special and token.special)]
        raw = AddedTokenMatcher((token.content, token, index) for index, token in listed if not token.normalized)
        normal = AddedTokenMatcher(
            (self.normalize(token.content), token, index) for index, token in listed if token.normalized
        )
        return raw, normal

    def normalize(self, text: str) -> str:
        """The text as words are looked up in it."""
        return self._basic.normalizer.normalize(text) if self._basic else text

    def ids(self, text: str, split_special: bool = False) -> list[int]:
        """Ids of the pieces of `text`, without offsets: several times as fast as `pieces`."""
        raw, normal = self._matchers[split_special]
        if (raw.search and raw.search(text)) or normal.search or (self._basic and self._basic.never_split):
            return self.pieces(text, split_special).ids
        word_ids = self._word_ids
        words = self._basic.tokenize(text) if self._basic else text.split()
        return [index for word in words for index in word_ids[word]]

    def pieces(self, text: str, split_special: bool = False) -> Pieces:
        """Pieces of `text` with their places in it."""
        raw, normal = self._matchers[split_special]
        result = Pieces()
        for index, start, end in raw.split(text):
            if index is not None:
                self._append_added(result, index, text[start:end], start, end)
            elif self._basic is None:
                self._append_unspaced(result, text, start, end, normal)
            elif self._basic.never_split:
                for word, first, last in self._basic.cut_kept(text[start:end], self._basic.never_split):
                    first, last = start + first, start + last
                    if word is None:
                        self._append_normalized(result, text[first:last], first, normal)
                    else:
                        self._append_kept(result, word, first, last)
            else:
                self._append_normalized(result, text[start:end], start, normal)
        return result

    def _append_normalized(self, result: Pieces, text: str, shift: int, normal: AddedTokenMatcher) -> None:
        assert self._basic is not None
        normalized, alignment = self._basic.normalizer.normalize_aligned(text)
        for index, start, end in normal.split(normalized):
            if index is not None:
                first, last = shift + alignment[start], shift + alignment[end - 1] + 1
                self._append_added(result, index, normalized[start:end], first, last)
                continue
            for match in self._basic.words_of_normalized(normalized[start:end]):
                first, last = start + match.start(), start + match.end()
                self._append_word(result, match.group(), [shift + place for place in alignment[first:last]])

    def _append_unspaced(self, result: Pieces, text: str, start: int, end: int, normal: AddedTokenMatcher) -> None:
        for index, first, last in normal.split(text[start:end]):
            if index is not None:
                self._append_added(result, index, text[start + first : start + last], start + first, start + last)
                continue
            at = start + first
            for word in text[start + first : start + last].split():
                at = text.index(word, at)
                self._append_word(result, word, range(at, at + len(word)))
                at += len(word)

    def _append_added(self, result: Pieces, index: int, token: str, start: int, end: int) -> None:
        result.ids.append(index)
        result.tokens.append(token)
        result.offsets.append((start, end))
        result.words.append(_next_word(result))

    def _append_kept(self, result: Pieces, word: str, start: int, end: int) -> None:
        vocab = self._wordpiece.vocab
        result.ids.append(vocab[word] if word in vocab else vocab[self._wordpiece.unk_token])
        result.tokens.append(word)
        result.offsets.append((start, end))
        result.words.append(_next_word(result))

    def _append_word(self, result: Pieces, word: str, places: Sequence[int]) -> None:
        """`places` are the indices in the original text of the word's characters."""
        ids = self._word_ids[word]
        tokens = [self._tokens[piece] for piece in ids]
        result.words += [_next_word(result)] * len(ids)
        result.ids += ids
        result.tokens += tokens
        if len(ids) == 1:
            result.offsets.append((places[0], places[-1] + 1))
            return
        start, skipped = 0, 0  # pieces after the first carry the prefix, which is not in the text
        for token in tokens:
            end = start + len(token) - skipped
            result.offsets.append((places[start], places[end - 1] + 1))
            start, skipped = end, len(self._wordpiece.prefix)

    def text_or_words(
        self, text: str | Sequence[str], split_special: bool = False, gaps: Mapping[int | None, Gaps] | None = None
    ) -> Pieces:
        """Pieces of a text, or of words the caller has split: then offsets are within each word.

        With the gaps of a part of a text, or of each of its words, places are those in the whole one.
        """
        gaps = gaps or {}
        if isinstance(text, str):
            result = self.pieces(text, split_special)
            if None in gaps:
                result.offsets = [moved(span, gaps[None]) for span in result.offsets]
            return result
        result = Pieces()
        for index, word in enumerate(text):
            pieces = self.pieces(word, split_special)
            pieces.words = [index] * len(pieces.ids)
            if index in gaps:
                pieces.offsets = [moved(span, gaps[index]) for span in pieces.offsets]
            result.extend(pieces)
        return result


def _next_word(pieces: Pieces) -> int:
    return pieces.words[-1] + 1 if pieces.words else 0

"""What a tokenizer returns: columns of numbers, and for each sequence how they map to words and characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import TokenizerError
from .tensor_conversion import as_tensor, is_ragged


class CharSpan(NamedTuple):
    """Characters `start` up to, not including, `end` of an original text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` up to, not including, `end` of an encoding."""

    start: int
    end: int


@dataclass
class Encoding:
    """One encoded sequence or pair: per token its id, text, place and origin.

    `offsets` count characters of the original text (of the word, when words were passed); they are (0, 0) at special
    and padding tokens, whose `word_ids` and `sequence_ids` are None. Same attributes and look-ups as the `tokenizers`
    library's `Encoding`.
    """

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    attention_mask: list[int]
    special_tokens_mask: list[int]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    n_sequences: int = 1
    overflowing: list[Encoding] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_sequence(self, token_index: int) -> int | None:
        """0 or 1 for a token of the first or second text, None for special and padding tokens."""
        return self.sequence_ids[token_index] if 0 <= token_index < len(self.ids) else None

    def token_to_word(self, token_index: int) -> int | None:
        """Index of the word that the token is part of."""
        return self.word_ids[token_index] if 0 <= token_index < len(self.ids) else None

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """Place of the token in its text."""
        return self.offsets[token_index] if self.token_to_sequence(token_index) is not None else None

    def char_to_token(self, char_index: int, sequence_index: int = 0) -> int | None:
        """Index of the first token that covers the character; None for spaces and what cleaning removed."""
        for index, (sequence, (start, end)) in enumerate(zip(self.sequence_ids, self.offsets, strict=True)):
            if sequence == sequence_index and start <= char_index < end:
                return index
        return None

    def char_to_word(self, char_index: int, sequence_index: int = 0) -> int | None:
        """Index of the word that covers the character."""
        token = self.char_to_token(char_index, sequence_index)
        return None if token is None else self.word_ids[token]

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """First token of the word and the one after its last."""
        places = zip(self.sequence_ids, self.word_ids, strict=True)
        tokens = [index for index, place in enumerate(places) if place == (sequence_index, word_index)]
        return (tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """Place of the word in its text."""
        span = self.word_to_tokens(word_index, sequence_index)
        return None if span is None else (self.offsets[span[0]][0], self.offsets[span[1] - 1][1])


class BatchEncoding(dict[str, Any]):
    """A dictionary of model inputs, also readable as attributes, with the way back to tokens, words and characters.

    `model(**encoding)`, `encoding["input_ids"]` and `encoding.input_ids` all work; `encoding[0]` is the `Encoding` of
    the first row and `encoding[2:5]` a dictionary of sliced columns. The look-ups take `(row, index)`, or only
    `index` for row 0. The pure Python tokenizer computes the encodings when they are first asked for.
    """

    def __init__(
        self,
        data: Any = None,
        encoding: Any = None,
        tensor_type: Any = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        is_fast: bool | None = None,
    ) -> None:
        super().__init__(data or {})
        listed = encoding is None or callable(encoding) or isinstance(encoding, Sequence)
        self.__dict__["_encodings"] = encoding if listed else [encoding]
        self.__dict__["_n_sequences"] = n_sequences
        self.__dict__["_is_fast"] = (encoding is not None) if is_fast is None else is_fast
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return super().__getitem__(item)
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.items()}
        return self._row(item)

    @property
    def data(self) -> dict[str, Any]:
        """Itself: the mapping of column names to columns, for code written for transformers."""
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(name)
        except KeyError:
            raise AttributeError(
                f"BatchEncoding has no key or attribute {name!r}; its keys are {', '.join(self) or 'none'}."
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (dict(self), self.encodings, None, False, self.__dict__["_n_sequences"], self.__dict__["_is_fast"]),
        )

    def copy(self) -> BatchEncoding:
        """A new BatchEncoding with the same values."""
        return type(self)(
            dict(self),
            self.__dict__["_encodings"],
            n_sequences=self.__dict__["_n_sequences"],
            is_fast=self.__dict__["_is_fast"],
        )

    __copy__ = copy

    @property
    def is_fast(self) -> bool:
        """True when it comes from the tokenizer on the `tokenizers` library."""
        return self.__dict__["_is_fast"]

    @property
    def encodings(self) -> list[Any] | None:
        """One `Encoding` per row; None after `pad` or `prepare_for_model`, which see no text."""
        encodings = self.__dict__["_encodings"]
        if callable(encodings):
            encodings = self.__dict__["_encodings"] = encodings()
        return encodings

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None when unknown."""
        if self.__dict__["_n_sequences"] is None and self.encodings:
            self.__dict__["_n_sequences"] = self.encodings[0].n_sequences
        return self.__dict__["_n_sequences"]

    def _row(self, index: int) -> Any:
        encodings = self.encodings
        if encodings is None:
            raise TokenizerError(
                "BatchEncoding: wanted the tokens behind these numbers, but they were made without text (by pad or"
                " prepare_for_model, or from ids). Take the BatchEncoding that the tokenizer returned for the text."
            )
        try:
            return encodings[index]
        except IndexError:
            raise TokenizerError(
                f"BatchEncoding: wanted row {index}, but it has {len(encodings)} rows. Count rows from 0."
            ) from None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Texts of the row's tokens."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token the index of its word; None at special and padding tokens."""
        return self._row(batch_index).word_ids

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token 0 for the first text, 1 for the second; None at special and padding tokens."""
        return self._row(batch_index).sequence_ids

    def _locate(self, first: int, second: int | None) -> tuple[Any, int]:
        """The row's encoding and the index in it, from (row, index) or (index,)."""
        row, index = (0, first) if second is None else (first, second)
        if index < 0:
            raise TokenizerError(f"BatchEncoding: wanted an index of a character or word from 0 on, got {index}.")
        return self._row(row), index

    def _locate_token(self, first: int, second: int | None) -> tuple[Any, int]:
        """As `_locate`, for tokens, which may be counted from the end of the row."""
        row, index = (0, first) if second is None else (first, second)
        encoding = self._row(row)
        return encoding, index + len(encoding) if -len(encoding) <= index < 0 else index

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1 for a token of the first or second text, None for special and padding tokens."""
        row, index = self._locate_token(batch_or_token_index, token_index)
        return row.token_to_sequence(index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Index of the word that the token is part of, None for special and padding tokens."""
        row, index = self._locate_token(batch_or_token_index, token_index)
        return row.token_to_word(index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Place of the token in its text, None for special and padding tokens."""
        row, index = self._locate_token(batch_or_token_index, token_index)
        return _span(CharSpan, row.token_to_chars(index))

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Tokens of the word, None when the row has no such word."""
        row, index = self._locate(batch_or_word_index, word_index)
        return _span(TokenSpan, row.word_to_tokens(index, sequence_index))

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Place of the word in its text, None when the row has no such word."""
        row, index = self._locate(batch_or_word_index, word_index)
        return _span(CharSpan, row.word_to_chars(index, sequence_index))

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Index of the token that covers the character; None for spaces, removed and truncated characters."""
        row, index = self._locate(batch_or_char_index, char_index)
        return row.char_to_token(index, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Index of the word that covers the character; None for spaces, removed and truncated characters."""
        row, index = self._locate(batch_or_char_index, char_index)
        return row.char_to_word(index, sequence_index)

    def convert_to_tensors(self, tensor_type: Any = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turns every value into a tensor, in place, and returns self; "np" and "pt" give int64, "tf" int32."""
        if tensor_type is None:
            return self
        for key, value in self.items():
            rows = [value] if prepend_batch_axis else value
            if is_ragged(rows):
                lengths = sorted({len(row) for row in rows if isinstance(row, list | tuple)})
                kind = getattr(tensor_type, "value", tensor_type)
                raise TokenizerError(
                    f"{key}: wanted rows of equal length for return_tensors={kind!r},"
                    f" got lengths {', '.join(map(str, lengths)) or 'that differ'}."
                    " Pass padding=True, and truncation=True with max_length where texts are long."
                )
            self[key] = as_tensor(rows, tensor_type)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Moves every PyTorch tensor to `device`, in place, and returns self.

        `non_blocking` does not wait for copies from pinned memory.
        """
        for key, value in self.items():
            if not hasattr(value, "to"):
                raise TokenizerError(
                    f"BatchEncoding.to: wanted PyTorch tensors, got {type(value).__name__} for {key!r}."
                    " Ask the tokenizer for return_tensors='pt'."
                )
            self[key] = value.to(device=device, non_blocking=non_blocking)
        return self


def _span(kind: Callable[..., Any], span: tuple[int, int] | None) -> Any:
    return None if span is None else kind(*span)

"""MobileBertTokenizerFast: the same tokenizer on the compiled `tokenizers` library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar, Self

from ..errors import TokenizerError
from .added_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES, AddedToken
from .batch_rows import Row, check_rows
from .encoding import BatchEncoding, Encoding
from .encoding_options import EncodingOptions, warn_of_length
from .library_tokenizer import LibrarySettings, LibraryTokenizer
from .long_texts import RowGaps, moved
from .tokenization_base import TokenizerBase
from .tokenizer_files import VocabularySource
from .tokenizer_saving import tokenizer_json
from .vocabulary import learnt_vocabulary


class MobileBertTokenizerFast(TokenizerBase):
    """MobileBERT's tokenizer on the `tokenizers` library, which is imported when the first one is made.

    `clean_text=False` keeps control characters; `wordpieces_prefix` is what pieces after a word's first begin with in
    the vocabulary. With `return_overflowing_tokens=True` a long text gives several rows, and the column
    "overflow_to_sample_mapping" says which text each row is from. Further keywords stand at `TokenizerBase`.
    """

    is_fast: ClassVar[bool] = True
    _built = ("_tokenizer", "_generation")
    _generation = 0  # counts changes of the vocabulary

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        do_lower_case: bool = True,
        unk_token: Any = "[UNK]",
        sep_token: Any = "[SEP]",
        pad_token: Any = "[PAD]",
        cls_token: Any = "[CLS]",
        mask_token: Any = "[MASK]",
        clean_text: bool = True,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        wordpieces_prefix: str = "##",
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if never_split or not do_basic_tokenize:
            name = "never_split" if never_split else "do_basic_tokenize=False"
            raise TokenizerError(
                f"MobileBertTokenizerFast: wanted options that the tokenizers library has, got {name}."
                " Use MobileBertTokenizer (AutoTokenizer with use_fast=False)."
            )
        super().__init__(
            vocab_file,
            tokenizer_file,
            {
                "unk_token": unk_token,
                "sep_token": sep_token,
                "pad_token": pad_token,
                "cls_token": cls_token,
                "mask_token": mask_token,
            },
            {
                "do_lower_case": do_lower_case,
                "tokenize_chinese_chars": tokenize_chinese_chars,
                "strip_accents": strip_accents,
            },
            {"clean_text": clean_text, "wordpieces_prefix": wordpieces_prefix, **kwargs},
        )

    def _build(self) -> None:
        self._generation += 1
        self._tokenizer = LibraryTokenizer(tokenizer_json(self._table, self._special, self._splitting))

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        self._generation += 1
        for token in tokens:
            if self._tokenizer.add(token) != self._table.added_ids[token.content]:
                self._build()  # numbers them as they are written

    def _normalize(self, text: str) -> str:
        return self.backend_tokenizer.normalizer.normalize_str(text)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return bool(self._splitting["do_lower_case"])

    @property
    def backend_tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` that does the work. Changes made to it are not saved."""
        return self._tokenizer.library

    @property
    def decoder(self) -> Any:
        """The decoder of the `tokenizers` library."""
        return self.backend_tokenizer.decoder

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str | list[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Iterable[Any] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A tokenizer with the settings of this one and a vocabulary learnt from texts, or batches of texts.

        Args:
            length: changes nothing; there is no progress bar.
            new_special_tokens: added to the special tokens, which come first.
            special_tokens_map: old text of a special token to its new one.
            kwargs: of `tokenizers.trainers.WordPieceTrainer`, such as `min_frequency`.
        """
        renamed = dict(special_tokens_map or {})
        named = {name: renamed.get(str(token), token) for name, token in self._special.texts_by_name().items()}
        additional: list[str] = [renamed.get(token, token) for token in named.pop(ADDITIONAL, [])]
        additional += [str(token) for token in new_special_tokens or ()]
        first = [*map(str, named.values()), *additional]
        vocabulary = learnt_vocabulary(text_iterator, vocab_size, first, self._splitting, **kwargs)
        source = VocabularySource(vocabulary, "train_new_from_iterator", {}, {})
        return type(self)(
            **{**self._settings(), **dict.fromkeys(SPECIAL_TOKEN_NAMES), **named},
            additional_special_tokens=additional,
            _source=source,
        )

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined by spaces, pieces joined to words, punctuation and contractions pulled close."""
        return self.backend_tokenizer.decoder.decode(tokens)

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        added = self._table.added
        if any(self._table.text(index) is None or (index in added and not added[index].special) for index in ids):
            # The library takes no id below 0, as of labels that are ignored, and leaves out one that no token has.
            # tokenizers 0.23, unlike 0.15, writes tokens that users added as they are matched: in lower case.
            special = set(self.all_special_ids) if skip_special_tokens else ()
            tokens = [self._table.text(index) or self._special.unknown for index in ids if index not in special]
            return self.convert_tokens_to_string(tokens)
        return self.backend_tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def _count(self, text: str, split_special_tokens: bool) -> int:
        plain, settings = EncodingOptions(add_special_tokens=False), LibrarySettings(None, None, split_special_tokens)
        return len(self._tokenizer.encode([text], plain, settings, with_places=False)[0])

    def piece_ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of whole texts without special tokens; nothing else is fetched from the library."""
        options = EncodingOptions(add_special_tokens=False, split_special_tokens=self.split_special_tokens)
        encodings = self._tokenizer.encode(texts, options, self._settings_for(options), with_places=False)
        return [encoding.ids for encoding in encodings]

    def _settings_for(self, options: EncodingOptions) -> LibrarySettings:
        truncation = padding = None
        if options.truncation != "do_not_truncate":
            truncation = (options.max_length, options.stride, options.truncation, self.truncation_side)
            # without special tokens the library still leaves room for them, but a window may be all stride then
            most = (options.max_length or 0) - self.num_special_tokens_to_add() - options.add_special_tokens
            if options.stride and options.stride > most:
                raise TokenizerError(
                    f"stride: wanted at most {max(most, 0)} for max_length={options.max_length} with its special"
                    f" tokens, got {options.stride}. Raise max_length or lower stride."
                )
        if options.padding != "do_not_pad":
            length = options.max_length if options.padding == "max_length" else None
            filler = (self.pad_token_id, self.pad_token_type_id, self.pad_token)
            padding = (options.padding_side or self.padding_side, *filler, length, options.pad_to_multiple_of)
        return LibrarySettings(truncation, padding, options.split_special_tokens)

    def _encode_batch(
        self, rows: Sequence[Row], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        texts = all(isinstance(a, str) and (b is None or isinstance(b, str)) for a, b in rows)
        if options.is_split_into_words or not texts:
            check_rows(rows, options)
            if not options.is_split_into_words:
                return self._encode_prepared(rows, return_tensors, options)
        whole = rows
        rows, gaps = self._parts(rows, options)
        pairs = any(second is not None for _, second in rows)
        inputs = _inputs(rows)
        self._check_room(rows, options)
        settings = self._settings_for(options)
        # Places cost up to a fifth of the time and most batches never ask for them: those that do are encoded again.
        # Without them the library gives every window of a pair but the first the token type 0.
        asked = single or options.is_split_into_words or options.return_offsets_mapping
        now = asked or options.return_overflowing_tokens
        encodings = _placed(self._tokenizer.encode(inputs, options, settings, now), gaps if now else ())
        samples: list[int] = []
        if options.return_overflowing_tokens:
            samples = [number for number, encoding in enumerate(encodings) for _ in (encoding, *encoding.overflowing)]
            encodings = _with_overflowing(encodings)
        columns = self._columns(encodings, options, pairs)
        if options.return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        longest = max(map(len, columns[self.model_input_names[0]]), default=0)
        warn_of_length(self.deprecation_warnings, longest, self.model_max_length, options)
        cut_at_the_start = self.truncation_side == "left" and options.truncation != "do_not_truncate"
        if gaps and cut_at_the_start:  # words are counted from the beginning
            now, inputs, gaps = False, _inputs(whole), ()
        places = encodings if now else partial(self._encode_later, inputs, gaps, options, settings, self._generation)
        return BatchEncoding(columns, places, return_tensors, n_sequences=1 + pairs, is_fast=True)

    def _columns(self, encodings: list[Any], options: EncodingOptions, pairs: bool) -> dict[str, list[Any]]:
        """The columns that the options name; what is the same for every token is not fetched from the library."""
        ids = [encoding.ids for encoding in encodings]
        columns: dict[str, list[Any]] = {self.model_input_names[0]: ids}
        if options.return_token_type_ids:
            if self.pad_token_type_id == 0 and not pairs:
                columns["token_type_ids"] = [[0] * len(row) for row in ids]
            else:
                columns["token_type_ids"] = [encoding.type_ids for encoding in encodings]
        if options.return_attention_mask:
            if options.padding == "do_not_pad":
                columns["attention_mask"] = [[1] * len(row) for row in ids]
            else:
                columns["attention_mask"] = [encoding.attention_mask for encoding in encodings]
        if options.return_special_tokens_mask:
            columns["special_tokens_mask"] = [encoding.special_tokens_mask for encoding in encodings]
        if options.return_offsets_mapping:
            columns["offset_mapping"] = [encoding.offsets for encoding in encodings]
        if options.return_length:
            columns["length"] = [len(row) for row in ids]
        return columns

    def _encode_prepared(self, rows: Sequence[Row], return_tensors: Any, options: EncodingOptions) -> BatchEncoding:
        """A batch from rows of tokens or ids, whose places in a text are unknown."""

        def ids(items: Any) -> list[int]:
            if isinstance(items, str):
                return self.encode(items, add_special_tokens=False)
            return [item if isinstance(item, int) else self.convert_tokens_to_ids(item) for item in items]

        arranged = [self._arrange(ids(a), None if b is None else ids(b), options)[0] for a, b in rows]
        return BatchEncoding(self._padding(options).columns(arranged, options), None, return_tensors, is_fast=True)

    def _encode_later(
        self,
        inputs: list[Any],
        gaps: Sequence[RowGaps],
        options: EncodingOptions,
        settings: LibrarySettings,
        generation: int,
    ) -> list[Any]:
        if generation != self._generation:
            raise TokenizerError(
                "BatchEncoding: wanted the places of tokens, but the vocabulary has changed since. Encode it again."
            )
        encodings = _placed(self._tokenizer.encode(inputs, options, settings), gaps)
        return _with_overflowing(encodings) if options.return_overflowing_tokens else encodings


def _inputs(rows: Sequence[Row]) -> list[Any]:
    """Rows as the library takes them."""
    return [first if second is None else (first, second) for first, second in rows]


def _placed(encodings: list[Any], gaps: Sequence[RowGaps]) -> list[Any]:
    """The library's encodings of parts of texts, with places in the whole ones."""
    if not any(any(each) for each in gaps):
        return encodings
    return [_with_gaps(one, each) if any(each) else one for one, each in zip(encodings, gaps, strict=True)]


def _with_gaps(encoding: Any, gaps: RowGaps) -> Encoding:
    names = [field.name for field in fields(Encoding) if field.name != "overflowing"]
    copy = Encoding(**{name: getattr(encoding, name) for name in names})
    for number, (sequence, word) in enumerate(zip(copy.sequence_ids, copy.word_ids, strict=True)):
        if sequence is not None:
            own = gaps[sequence].get(None) or gaps[sequence].get(word)
            copy.offsets[number] = moved(copy.offsets[number], own) if own else copy.offsets[number]
    return copy


def _with_overflowing(encodings: list[Any]) -> list[Any]:
    """Each encoding followed by those of the text that did not fit into it."""
    return [part for encoding in encodings for part in (encoding, *encoding.overflowing)]

"""MobileBertTokenizer: BERT's uncased WordPiece tokenizer in pure Python, the reference for the compiled one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import TokenizerError
from .added_tokens import AddedToken
from .basic_tokenization import BasicTokenizer
from .batch_rows import Row, check_rows, is_prepared
from .encoding import BatchEncoding
from .encoding_options import EncodingOptions
from .lazy_encodings import LazyEncodings
from .long_texts import NO_GAPS, RowGaps
from .padding_truncation import Cut
from .text_pieces import TextSplitter
from .tokenization_base import TokenizerBase
from .wordpiece import WordpieceTokenizer


class MobileBertTokenizer(TokenizerBase):
    """MobileBERT's tokenizer in pure Python, the reference: tests check the fast one against it.

    It gives the ids and offsets of the fast one, and has two more options. `never_split` lists whitespace-delimited
    tokens that stay whole and as written; `do_basic_tokenize=False` splits at whitespace only and neither cleans nor
    lower-cases. `strip_accents=None` strips accents exactly when lower-casing. `vocab_file` is a vocab.txt; further
    keywords stand at `TokenizerBase`.
    """

    _built = ("basic_tokenizer", "wordpiece_tokenizer", "_splitter")
    is_fast: ClassVar[bool] = False

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        unk_token: Any = "[UNK]",
        sep_token: Any = "[SEP]",
        pad_token: Any = "[PAD]",
        cls_token: Any = "[CLS]",
        mask_token: Any = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
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
                "do_basic_tokenize": do_basic_tokenize,
                "never_split": never_split,
                "tokenize_chinese_chars": tokenize_chinese_chars,
                "strip_accents": strip_accents,
            },
            kwargs,
        )

    def _build(self) -> None:
        splitting = self._splitting
        if splitting["do_basic_tokenize"]:
            self.basic_tokenizer = BasicTokenizer(
                do_lower_case=splitting["do_lower_case"],
                never_split=splitting["never_split"],
                tokenize_chinese_chars=splitting["tokenize_chinese_chars"],
                strip_accents=splitting["strip_accents"],
                clean_text=splitting["clean_text"],
            )
        self.wordpiece_tokenizer = WordpieceTokenizer(
            self._table.vocabulary,
            self._special.unknown,
            splitting["max_input_chars_per_word"],
            splitting["wordpieces_prefix"],
        )
        self._splitter = self._make_splitter()

    def _make_splitter(self) -> TextSplitter:
        basic = self.basic_tokenizer if self._splitting["do_basic_tokenize"] else None
        return TextSplitter(basic, self.wordpiece_tokenizer, self._table.added, self._table.texts)

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        self._splitter = self._make_splitter()

    def _as_added(self, token: AddedToken) -> AddedToken:
        # listed in lower case, so that transformers 4's slow tokenizer finds it too when it reads our files
        if token.special or not token.normalized or not self.do_lower_case or token.content in self._special.texts():
            return token
        return replace(token, content=token.content.lower())

    def _normalize(self, text: str) -> str:
        return self._splitter.normalize(text)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return bool(self._splitting["do_lower_case"] and self._splitting["do_basic_tokenize"])

    @property
    def ids_to_tokens(self) -> dict[int, str]:
        """Id to text of the model's own vocabulary, added tokens left out."""
        return self._table.texts

    def _token_of(self, index: int) -> str:
        token = self._table.text(index)
        return self._special.unknown if token is None else token

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined by spaces, pieces joined to words."""
        return " ".join(tokens).replace(f" {self._splitting['wordpieces_prefix']}", "").strip()

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The pieces of a text, and of a second one, as texts."""
        if pair is not None or add_special_tokens or options or not isinstance(text, str):
            return super().tokenize(text, pair, add_special_tokens, **options)
        return self._splitter.pieces(text, self.split_special_tokens).tokens

    def _encode_batch(
        self, rows: Sequence[Row], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        check_rows(rows, options)
        self._check_room(rows, options)
        of_text = options.is_split_into_words or not any(is_prepared(text) for row in rows for text in row)
        if options.return_offsets_mapping and not of_text:
            raise TokenizerError("return_offsets_mapping: wanted text, got tokens or ids. Pass the text itself.")
        whole = rows
        rows, gaps = self._parts(rows, options) if of_text else (rows, ())
        arranged = self._rows_with_offsets(rows, gaps, options) if options.return_offsets_mapping else [
            self._arrange(self._ids(a, options), None if b is None else self._ids(b, options), options) for a, b in rows
        ]  # fmt: skip
        columns, cuts = [row for row, _ in arranged], [cut for _, cut in arranged]
        name = self.model_input_names[0]
        lengths = [len(row[name]) for row in columns]
        padded = self._padding(options).columns(columns, options) or {name: []}
        if options.return_length:
            padded["length"] = [len(ids) for ids in padded[name]] if single else lengths
        at_the_end = self.truncation_side == "left"  # words are counted from the beginning
        encodings = LazyEncodings(
            self._splitter,
            whole if at_the_end else rows,
            () if at_the_end else gaps,
            cuts,
            [len(ids) for ids in padded[name]],
            options,
            options.padding_side or self.padding_side,
            (self.cls_token, self.cls_token_id),
            (self.sep_token, self.sep_token_id),
            (self.pad_token, self.pad_token_id) if self.pad_token else ("", 0),
            self.pad_token_type_id,
        )
        return BatchEncoding(padded, encodings if of_text else None, return_tensors, is_fast=False)

    def _count(self, text: str, split_special_tokens: bool) -> int:
        return len(self._splitter.ids(text, split_special_tokens))

    def _rows_with_offsets(
        self, rows: Sequence[Row], gaps: Sequence[RowGaps], options: EncodingOptions
    ) -> list[tuple[dict[str, Any], Cut]]:
        arranged = []
        for (first, second), (of_first, of_second) in zip(rows, gaps or [NO_GAPS] * len(rows), strict=True):
            a = self._splitter.text_or_words(first, options.split_special_tokens, of_first)
            b = (
                None
                if second is None
                else self._splitter.text_or_words(second, options.split_special_tokens, of_second)
            )
            row, cut = self._arrange(a.ids, None if b is None else b.ids, options)
            pair_offsets = None if b is None else b.offsets
            row["offset_mapping"] = cut.surround(a.offsets, pair_offsets, (0, 0), (0, 0), options.add_special_tokens)
            arranged.append((row, cut))
        return arranged

    def _ids(self, text: Any, options: EncodingOptions) -> list[int]:
        split_special = options.split_special_tokens
        if isinstance(text, str):
            return self._splitter.ids(text, split_special)
        if options.is_split_into_words:
            return [index for word in text for index in self._splitter.ids(word, split_special)]
        return [index if isinstance(index, int) else self.convert_tokens_to_ids(index) for index in text]

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        alone = self._table.outside_vocabulary().keys() | (self._table.added_ids.keys() - set(self.all_special_tokens))
        texts: list[str] = []
        pieces: list[str] = []
        for token in tokens:
            if token not in alone:
                pieces.append(token)
                continue
            if pieces:
                texts.append(self.convert_tokens_to_string(pieces))
                pieces = []
            texts.append(token)
        if pieces:
            texts.append(self.convert_tokens_to_string(pieces))
        return (" " if spaces_between_special_tokens else "").join(text for text in texts if text)

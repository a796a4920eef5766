"""MobileBertTokenizer: BERT's uncased WordPiece tokenizer in pure Python."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.added_tokens import AddedToken
from mobilebert_core.text.basic_tokenization import BasicTokenizer
from mobilebert_core.text.encoding import BatchEncoding
from mobilebert_core.text.padding_truncation import EncodingOptions
from mobilebert_core.text.text_pieces import EncodingRecipe, TextSplitter
from mobilebert_core.text.tokenization_base import check_rows
from mobilebert_core.text.tokenizer_saving import SavedTokenizer
from mobilebert_core.text.wordpiece import WordpieceTokenizer


class MobileBertTokenizer(SavedTokenizer):
    """MobileBERT's tokenizer in pure Python: the ids and offsets of the fast one, and two more options.

    `never_split` lists whitespace-delimited tokens that stay whole and as written; `do_basic_tokenize=False` splits
    at whitespace only and neither cleans nor lower-cases. `strip_accents=None` strips accents exactly when
    lower-casing. `vocab_file` is a vocab.txt; further keywords stand at `TokenizerState`.
    """

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
                "never_split": None if never_split is None else list(never_split),
                "tokenize_chinese_chars": tokenize_chinese_chars,
                "strip_accents": strip_accents,
            },
            kwargs,
        )

    def _build(self) -> None:
        arguments = self._arguments
        if arguments["do_basic_tokenize"]:
            self.basic_tokenizer = BasicTokenizer(
                do_lower_case=arguments["do_lower_case"],
                never_split=arguments["never_split"],
                tokenize_chinese_chars=arguments["tokenize_chinese_chars"],
                strip_accents=arguments["strip_accents"],
                clean_text=arguments["clean_text"],
            )
        self.wordpiece_tokenizer = WordpieceTokenizer(
            self._vocabulary, self.unk_token, arguments["max_input_chars_per_word"], arguments["wordpieces_prefix"]
        )
        basic = self.basic_tokenizer if arguments["do_basic_tokenize"] else None
        self._splitter = TextSplitter(basic, self.wordpiece_tokenizer, self._added, self._ids_to_tokens)

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        basic = self.basic_tokenizer if self._arguments["do_basic_tokenize"] else None
        self._splitter = TextSplitter(basic, self.wordpiece_tokenizer, self._added, self._ids_to_tokens)

    def _as_added(self, token: AddedToken) -> AddedToken:
        # listed in lower case, so that transformers 4's slow tokenizer finds it too when it reads our files
        if token.special or not token.normalized or not self.do_lower_case:
            return token
        return replace(token, content=token.content.lower())

    def _normalize(self, text: str) -> str:
        return self._splitter.normalize(text)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return bool(self._arguments["do_lower_case"] and self._arguments["do_basic_tokenize"])

    @property
    def ids_to_tokens(self) -> dict[int, str]:
        """Id to text of the model's own vocabulary, added tokens left out."""
        return self._ids_to_tokens

    def _token_of(self, index: int) -> str:
        if index in self._added:
            return self._added[index].content
        return self._ids_to_tokens.get(index, self.unk_token)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined by spaces, pieces joined to words."""
        return " ".join(tokens).replace(f" {self._arguments['wordpieces_prefix']}", "").strip()

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The pieces of a text, and of a second one, as texts."""
        if pair is not None or add_special_tokens or options or not isinstance(text, str):
            return super().tokenize(text, pair, add_special_tokens, **options)
        return self._splitter.pieces(text, self.split_special_tokens).tokens

    def _encode_batch(
        self, rows: list[tuple[Any, Any]], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        check_rows(rows, options)
        self._check_room(rows, options)
        of_text = options.is_split_into_words or not any(_is_prepared(text) for row in rows for text in row)
        offsets: list[tuple[Any, Any]] = []
        if options.return_offsets_mapping:
            if not of_text:
                raise TokenizerError("return_offsets_mapping: wanted text, got tokens or ids. Pass the text itself.")
            split = self._splitter.text_or_words
            special = options.split_special_tokens
            pieces = [(split(a, special), None if b is None else split(b, special)) for a, b in rows]
            arranged = [self._arrange(a.ids, None if b is None else b.ids, options) for a, b in pieces]
            offsets = [(a.offsets, None if b is None else b.offsets) for a, b in pieces]
        else:
            ids = [(self._ids(a, options), None if b is None else self._ids(b, options)) for a, b in rows]
            arranged = [self._arrange(a, b, options) for a, b in ids]
        columns = [row for row, _ in arranged]
        for row, (_, cut), (first, second) in zip(columns, arranged, offsets, strict=False):
            row["offset_mapping"] = cut.surround(first, second, (0, 0), (0, 0), options.add_special_tokens)
        name = self.model_input_names[0]
        lengths = [len(row[name]) for row in columns]
        padded = self._pad_rows(columns, options) or {name: []}
        if options.return_length:
            padded["length"] = [len(ids) for ids in padded[name]] if single else lengths
        recipe = EncodingRecipe(
            self._splitter,
            rows,
            [cut for _, cut in arranged],
            [len(ids) for ids in padded[name]],
            options,
            self.padding_side,
            (self.cls_token, self.cls_token_id),
            (self.sep_token, self.sep_token_id),
            (self.pad_token, self.pad_token_id) if self.pad_token else ("", 0),
            self.pad_token_type_id,
        )
        return BatchEncoding(padded, recipe if of_text else None, return_tensors, is_fast=False)

    def _ids(self, text: Any, options: EncodingOptions) -> list[int]:
        split_special = options.split_special_tokens
        if isinstance(text, str):
            return self._splitter.ids(text, split_special)
        if options.is_split_into_words:
            return [index for word in text for index in self._splitter.ids(word, split_special)]
        return [index if isinstance(index, int) else self.convert_tokens_to_ids(index) for index in text]

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        alone = {token for token in self._added_ids if token not in self._vocabulary}
        alone |= self._added_ids.keys() - set(self.all_special_tokens)
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
        return " ".join(text for text in texts if text)


def _is_prepared(text: Any) -> bool:
    return isinstance(text, list | tuple)

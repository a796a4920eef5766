"""MobileBertTokenizerFast: the same tokenizer on the compiled `tokenizers` library."""

import os
from collections.abc import Iterable
from typing import Any, ClassVar

from mobilebert_core.added_tokens import AddedToken
from mobilebert_core.encoding import BatchEncoding
from mobilebert_core.errors import BackendMissingError, TokenizerError
from mobilebert_core.padding_truncation import EncodingOptions
from mobilebert_core.tokenization_base import check_rows
from mobilebert_core.tokenizer_saving import SavedTokenizer


class MobileBertTokenizerFast(SavedTokenizer):
    """MobileBERT's tokenizer on the `tokenizers` library, which is imported when the first one is made.

    `clean_text=False` keeps control characters; `wordpieces_prefix` is what pieces after a word's first begin with in
    the vocabulary. With `return_overflowing_tokens=True` a long text gives several rows, and the column
    "overflow_to_sample_mapping" says which text each row is from. Further keywords stand at `TokenizerState`.
    """

    is_fast: ClassVar[bool] = True

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
                f"MobileBertTokenizerFast: wanted options that the tokenizers library has, came {name}."
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
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendMissingError(
                f"MobileBertTokenizerFast: wanted the package tokenizers, which is not installed ({error})."
                " Install it, or use MobileBertTokenizer."
            ) from error
        self._tokenizer = Tokenizer.from_str(self._tokenizer_json())
        self._state: tuple[Any, ...] = (None, None, False)  # truncation, padding and splitting now in force

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        from tokenizers import AddedToken as LibraryToken

        for token in tokens:
            added = LibraryToken(**token.as_dict())
            add = self._tokenizer.add_special_tokens if token.special else self._tokenizer.add_tokens
            add([added])
            if self._tokenizer.token_to_id(token.content) != self._added_ids[token.content]:
                self._build()  # numbers them as they are written

    def _normalize(self, text: str) -> str:
        return self._tokenizer.normalizer.normalize_str(text)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return bool(self._arguments["do_lower_case"])

    @property
    def backend_tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` that does the work. Changes made to it are not saved."""
        return self._tokenizer

    @property
    def decoder(self) -> Any:
        """The decoder of the `tokenizers` library."""
        return self._tokenizer.decoder

    def _token_of(self, index: int) -> str | None:
        return self._added[index].content if index in self._added else self._ids_to_tokens.get(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined by spaces, pieces joined to words, punctuation and contractions pulled close."""
        return self._tokenizer.decoder.decode(tokens)

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        if ids and min(ids) < 0:
            raise TokenizerError(
                f"decode: wanted ids from 0 on, came {min(ids)}. Replace labels that are to be ignored before decoding."
            )
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def _prepare_backend(self, options: EncodingOptions) -> None:
        truncation: tuple[Any, ...] | None = None
        padding: tuple[Any, ...] | None = None
        if options.truncation != "do_not_truncate":
            truncation = (options.max_length, options.stride, options.truncation, self.truncation_side)
        if options.padding != "do_not_pad":
            length = options.max_length if options.padding == "max_length" else None
            padding = (
                self.padding_side,
                self.pad_token_id,
                self.pad_token_type_id,
                self.pad_token,
                length,
                options.pad_to_multiple_of,
            )
        state = (truncation, padding, options.split_special_tokens)
        if state == self._state:
            return
        backend = self._tokenizer
        if truncation is None:
            backend.no_truncation()
        else:
            names = ("max_length", "stride", "strategy", "direction")
            backend.enable_truncation(**dict(zip(names, truncation, strict=True)))
        if padding is None:
            backend.no_padding()
        else:
            fields = ("direction", "pad_id", "pad_type_id", "pad_token", "length", "pad_to_multiple_of")
            backend.enable_padding(**dict(zip(fields, padding, strict=True)))
        backend.encode_special_tokens = options.split_special_tokens
        self._state = state

    def _encode_batch(
        self, rows: list[tuple[Any, Any]], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        if options.is_split_into_words or not all(type(first) is str for first, _ in rows):
            check_rows(rows, options)
            if not options.is_split_into_words:
                return self._encode_prepared(rows, return_tensors, options)
        inputs = [first if second is None else (first, second) for first, second in rows]
        self._prepare_backend(options)
        encodings = self._tokenizer.encode_batch(
            inputs, is_pretokenized=options.is_split_into_words, add_special_tokens=options.add_special_tokens
        )
        columns: dict[str, list[Any]] = {}
        samples: list[int] = []
        if options.return_overflowing_tokens:
            windows = [[encoding, *encoding.overflowing] for encoding in encodings]
            samples = [number for number, parts in enumerate(windows) for _ in parts]
            encodings = [encoding for parts in windows for encoding in parts]
        ids = columns[self.model_input_names[0]] = [encoding.ids for encoding in encodings]
        if options.return_token_type_ids:
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
        if options.return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        for row in ids:
            self._warn_if_too_long(len(row), options)
        return BatchEncoding(columns, encodings, return_tensors, is_fast=True)

"""MobileBertTokenizerFast: the same tokenizer on the compiled `tokenizers` library."""

import os
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from mobilebert_core.errors import BackendMissingError, TokenizerError
from mobilebert_core.text.added_tokens import AddedToken
from mobilebert_core.text.encoding import BatchEncoding
from mobilebert_core.text.padding_truncation import EncodingOptions, cut_lengths
from mobilebert_core.text.tokenization_base import check_rows
from mobilebert_core.text.tokenizer_saving import SavedTokenizer

_Settings = tuple[tuple[Any, ...] | None, tuple[Any, ...] | None, bool]  # truncation, padding, split special tokens
_TRUNCATION_FIELDS = ("max_length", "stride", "strategy", "direction")
_PADDING_FIELDS = ("direction", "pad_id", "pad_type_id", "pad_token", "length", "pad_to_multiple_of")


class MobileBertTokenizerFast(SavedTokenizer):
    """MobileBERT's tokenizer on the `tokenizers` library, which is imported when the first one is made.

    `clean_text=False` keeps control characters; `wordpieces_prefix` is what pieces after a word's first begin with in
    the vocabulary. With `return_overflowing_tokens=True` a long text gives several rows, and the column
    "overflow_to_sample_mapping" says which text each row is from. Further keywords stand at `TokenizerState`.
    """

    is_fast: ClassVar[bool] = True
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
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendMissingError(
                f"MobileBertTokenizerFast: wanted the package tokenizers, which is not installed ({error})."
                " Install it, or use MobileBertTokenizer."
            ) from error
        self._generation += 1
        self._tokenizer = Tokenizer.from_str(self._tokenizer_json())
        self._settings: _Settings = (None, None, False)  # now in force

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        from tokenizers import AddedToken as LibraryToken

        self._generation += 1
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
                f"decode: wanted ids from 0 on, got {min(ids)}. Replace labels that are to be ignored before decoding."
            )
        if any(index in self._added and not self._added[index].special for index in ids):
            # tokenizers 0.23, unlike 0.15, writes such tokens as they are matched: in lower case
            tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
            return self.convert_tokens_to_string([token for token in tokens if token is not None])
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def _settings_for(self, options: EncodingOptions) -> _Settings:
        truncation = padding = None
        if options.truncation != "do_not_truncate":
            truncation = (options.max_length, options.stride, options.truncation, self.truncation_side)
            room = (options.max_length or 0) - self.num_special_tokens_to_add()
            if options.stride and options.stride >= room:
                raise TokenizerError(
                    f"stride: wanted less than max_length without the special tokens ({room}), got {options.stride}."
                    " Raise max_length or lower stride."
                )
        if options.padding != "do_not_pad":
            length = options.max_length if options.padding == "max_length" else None
            filler = (self.pad_token_id, self.pad_token_type_id, self.pad_token)
            padding = (self.padding_side, *filler, length, options.pad_to_multiple_of)
        return truncation, padding, options.split_special_tokens

    def _apply(self, settings: _Settings) -> None:
        if settings == self._settings:
            return
        truncation, padding, split_special = settings
        if truncation is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(**dict(zip(_TRUNCATION_FIELDS, truncation, strict=True)))
        if padding is None:
            self._tokenizer.no_padding()
        else:
            self._tokenizer.enable_padding(**dict(zip(_PADDING_FIELDS, padding, strict=True)))
        self._tokenizer.encode_special_tokens = split_special
        self._settings = settings

    def _encode_inputs(self, inputs: list[Any], options: EncodingOptions, with_places: bool = True) -> list[Any]:
        """The library's encodings, and its errors as ours. `with_places=False` leaves out offsets, words and tokens."""
        encode = self._tokenizer.encode_batch if with_places else self._tokenizer.encode_batch_fast
        try:
            return encode(
                inputs, is_pretokenized=options.is_split_into_words, add_special_tokens=options.add_special_tokens
            )
        except (TypeError, UnicodeEncodeError):
            check_rows([item if isinstance(item, tuple) else (item, None) for item in inputs], options)
            clean = _without_surrogates(inputs)
            if clean == inputs:
                raise
            return self._encode_inputs(clean, options, with_places)
        except BaseException as error:  # Rust's panics are no Exceptions
            message = str(error)
            if type(error).__name__ == "PanicException" and "`stride`" in message:
                raise TokenizerError(
                    f"stride: wanted less than what max_length={options.max_length} leaves of a text besides the"
                    f" special tokens and the other text, got {options.stride}. Raise max_length or lower stride."
                ) from error
            if "Truncation error" not in message:
                raise
            if "Second sequence" in message:
                cut_lengths(1, None, 1, options.truncation, self.truncation_side)
            raise TokenizerError(
                f"truncation={options.truncation!r}: the text that it may shorten is too short to make the row fit"
                f" max_length={options.max_length}. Raise max_length, or use a strategy that may shorten the other"
                " text ('longest_first')."
            ) from error

    def _encode_batch(
        self, rows: list[tuple[Any, Any]], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        pairs = any(second is not None for _, second in rows)
        texts = all(isinstance(a, str) and (b is None or isinstance(b, str)) for a, b in rows)
        if options.is_split_into_words or not texts:
            check_rows(rows, options)
            if not options.is_split_into_words:
                return self._encode_prepared(rows, return_tensors, options)
        inputs = [first if second is None else (first, second) for first, second in rows]
        self._check_room(rows, options)
        settings = self._settings_for(options)
        self._apply(settings)
        # Places cost up to a fifth of the time and most batches never ask for them: those that do are encoded again.
        now = single or options.is_split_into_words or options.return_offsets_mapping
        encodings = self._encode_inputs(inputs, options, now)
        columns: dict[str, list[Any]] = {}
        samples: list[int] = []
        if options.return_overflowing_tokens:
            windows = [[encoding, *encoding.overflowing] for encoding in encodings]
            samples = [number for number, parts in enumerate(windows) for _ in parts]
            encodings = [encoding for parts in windows for encoding in parts]
        ids = columns[self.model_input_names[0]] = [encoding.ids for encoding in encodings]
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
        if options.return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        self._warn_if_too_long(max(map(len, ids), default=0), options)
        places = encodings if now else partial(self._encode_later, inputs, options, settings, self._generation)
        return BatchEncoding(columns, places, return_tensors, n_sequences=1 + pairs, is_fast=True)

    def _encode_later(
        self, inputs: list[Any], options: EncodingOptions, settings: _Settings, generation: int
    ) -> list[Any]:
        if generation != self._generation:
            raise TokenizerError(
                "BatchEncoding: wanted the places of tokens, but the vocabulary has changed since. Encode it again."
            )
        self._apply(settings)
        encodings = self._encode_inputs(inputs, options)
        if options.return_overflowing_tokens:
            return [part for encoding in encodings for part in (encoding, *encoding.overflowing)]
        return encodings


def _without_surrogates(value: Any) -> Any:
    """The texts with U+FFFD, which cleaning removes, for lone surrogates, which the library does not take."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    return type(value)(_without_surrogates(item) for item in value) if isinstance(value, list | tuple) else value

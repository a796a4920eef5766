"""The calls that both tokenizers share: text to model inputs, and ids back to text."""

from collections.abc import Sequence
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.encoding import BatchEncoding
from mobilebert_core.text.padding_truncation import EncodingOptions, resolve_strategies
from mobilebert_core.text.tensor_conversion import as_lists
from mobilebert_core.text.tokenizer_state import TokenizerState


class TokenizerBase(TokenizerState):
    """A BERT tokenizer whose way from text to pieces a subclass supplies."""

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **options: Any,
    ) -> BatchEncoding:
        """Model inputs of one text, one pair, or a batch of either; `text_target` gives a column "labels".

        `text` is a string or a list of strings; with `is_split_into_words=True` a list of words or a list of such
        lists. `padding` is False, True ("longest") or "max_length"; `truncation` is False, True ("longest_first"),
        "only_first" or "only_second"; `max_length` alone truncates. `return_tensors` is "np", "pt" (int64) or "tf"
        (int32). Offsets count characters of the original text.
        """
        options |= {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
        }
        if text is None and text_target is None:
            raise TokenizerError("tokenizer: wanted text, got None. Pass a string or a list of strings.")
        target = None
        if text_target is not None:
            target = self._call(text_target, text_pair_target, return_tensors, options)
            if text is None:
                return target
        encoding = self._call(text, text_pair, return_tensors, options)
        if target is not None:
            encoding["labels"] = target["input_ids"]
        return encoding

    def _call(self, text: Any, text_pair: Any, return_tensors: Any, options: dict[str, Any]) -> BatchEncoding:
        words = options["is_split_into_words"]
        if not isinstance(text, list | tuple) or (words and not (text and isinstance(text[0], list | tuple))):
            return self.encode_plus(text, text_pair, return_tensors=return_tensors, **options)
        if text_pair is not None:
            if isinstance(text_pair, str) or not isinstance(text_pair, list | tuple) or len(text_pair) != len(text):
                got = len(text_pair) if isinstance(text_pair, list | tuple) else f"one {type(text_pair).__name__}"
                raise TokenizerError(
                    f"text_pair: wanted a list of {len(text)} texts as in `text`, got {got}."
                    " Pass one second text for every first one."
                )
            text = list(zip(text, text_pair, strict=True))
        else:
            text = [(item, None) for item in text]
        return self._encode_batch(text, return_tensors, self._options(**options))

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The input ids alone of one text or pair (passed as text, tokens or ids); takes the options of a call."""
        return self.encode_plus(text, text_pair, **options)["input_ids"]

    def encode_plus(
        self, text: Any, text_pair: Any = None, return_tensors: Any = None, **options: Any
    ) -> BatchEncoding:
        """Model inputs of one text or pair; besides text also tokens or ids are taken. Options as in a call."""
        resolved = self._options(**options)
        batch = self._encode_batch([(text, text_pair)], return_tensors, resolved, single=True)
        if return_tensors is not None or (self.is_fast and resolved.return_overflowing_tokens):
            return batch
        kept = ("length",) if self.is_fast else ()  # the fast tokenizer gives a list here, as it always has
        for key, value in batch.items():
            if key not in kept:
                batch[key] = value[0]
        return batch

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], return_tensors: Any = None, **options: Any
    ) -> BatchEncoding:
        """Model inputs of a list of texts, or of (text, second text) tuples. Options as in a call."""
        resolved = self._options(**options)
        if isinstance(batch_text_or_text_pairs, str) or not isinstance(batch_text_or_text_pairs, list | tuple):
            raise TokenizerError(
                f"batch_encode_plus: wanted a list, got {type(batch_text_or_text_pairs).__name__}."
                " Use encode_plus for one text."
            )
        rows = [_split_pair(item, resolved.is_split_into_words) for item in batch_text_or_text_pairs]
        return self._encode_batch(rows, return_tensors, resolved)

    def _options(
        self,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        split_special_tokens: bool | None = None,
        **options: Any,
    ) -> EncodingOptions:
        padding, truncation, max_length = resolve_strategies(
            padding, truncation, max_length, pad_to_multiple_of, self.model_max_length
        )
        self._check_padding(padding)
        if return_token_type_ids is None:
            return_token_type_ids = "token_type_ids" in self.model_input_names
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        unknown = [name for name in options if name not in EncodingOptions.__dataclass_fields__]
        if unknown:
            raise TokenizerError(
                f"tokenizer: wanted options it knows, got {', '.join(map(repr, unknown))}."
                f" It knows {', '.join(EncodingOptions.__dataclass_fields__)} and return_tensors."
            )
        resolved = EncodingOptions(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            return_token_type_ids=return_token_type_ids,
            return_attention_mask=return_attention_mask,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            **options,
        )
        return resolved

    def _check_room(self, rows: list[tuple[Any, Any]], options: EncodingOptions) -> None:
        if options.truncation == "do_not_truncate" or options.max_length is None or not options.add_special_tokens:
            return
        if options.max_length >= self.num_special_tokens_to_add(pair=True):
            return
        special = self.num_special_tokens_to_add(any(second is not None for _, second in rows))
        if options.max_length < special:
            raise TokenizerError(
                f"max_length: wanted room for the {special} special tokens, got {options.max_length}."
                " Raise it or pass add_special_tokens=False."
            )

    def _encode_batch(
        self, rows: list[tuple[Any, Any]], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        """A batch from (text, second text or None); `single` says that it stands for one row alone."""
        raise NotImplementedError

    def _encode_prepared(
        self, rows: list[tuple[Any, Any]], return_tensors: Any, options: EncodingOptions
    ) -> BatchEncoding:
        """A batch from rows of tokens or ids, whose places in a text are unknown."""

        def ids(items: Any) -> list[int]:
            if isinstance(items, str):
                return self.encode(items, add_special_tokens=False)
            return [item if isinstance(item, int) else self.convert_tokens_to_ids(item) for item in items]

        arranged = [self._arrange(ids(a), None if b is None else ids(b), options)[0] for a, b in rows]
        return BatchEncoding(self._pad_rows(arranged, options), None, return_tensors, is_fast=self.is_fast)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The pieces of a text, and of a second one, as texts."""
        return self.encode_plus(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Text of an id or of a list or tensor of ids. Case, accents and spacing of the original are not restored."""
        ids = as_lists(token_ids)
        ids = [ids] if isinstance(ids, int) else ids
        if any(not hasattr(index, "__index__") for index in ids):
            raise TokenizerError(
                f"decode: wanted ids of one sequence, got {type(ids[0]).__name__} items. Use batch_decode for several."
            )
        text = self._decode(ids, skip_special_tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return self.clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(self, sequences: Any, **options: Any) -> list[str]:
        """Texts of a list of sequences of ids; takes the options of `decode`."""
        return [self.decode(sequence, **options) for sequence in sequences]

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        raise NotImplementedError

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """The text without the spaces that splitting puts before English punctuation and contractions."""
        for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
            out_string = out_string.replace(spaced, spaced.strip())
        return out_string


def _split_pair(item: Any, words: bool) -> tuple[Any, Any]:
    """(text, second text or None) from an item of a batch."""
    if not isinstance(item, list | tuple) or len(item) != 2:
        return item, None
    if words or isinstance(item[0], int):
        return (item[0], item[1]) if isinstance(item[0], list | tuple) else (item, None)
    return item[0], item[1]


def check_rows(rows: list[tuple[Any, Any]], options: EncodingOptions) -> None:
    """Raises `TokenizerError` naming the first row that is not text (words, tokens, ids)."""
    for number, row in enumerate(rows):
        for text in row:
            if isinstance(text, str) and not options.is_split_into_words:
                continue
            kinds = (str,) if options.is_split_into_words else (str, int)
            if isinstance(text, list | tuple) and all(isinstance(item, kinds) for item in text):
                continue
            if text is None and text is not row[0]:
                continue
            wanted = "a list of words" if options.is_split_into_words else "a string"
            hint = "Drop is_split_into_words" if options.is_split_into_words else "Convert it to text"
            raise TokenizerError(
                f"tokenizer, row {number}: wanted {wanted}, got {type(text).__name__} ({str(text)[:60]!r}). {hint}."
            )

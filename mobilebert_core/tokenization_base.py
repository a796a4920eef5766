"""What both tokenizers share: construction, calls, decoding and files."""

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mobilebert_core.added_tokens import AddedToken
from mobilebert_core.encoding import BatchEncoding
from mobilebert_core.errors import TokenizerError
from mobilebert_core.model_inputs import ModelInputs
from mobilebert_core.padding_truncation import NO_LIMIT, EncodingOptions, resolve_strategies
from mobilebert_core.special_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES
from mobilebert_core.tensor_conversion import as_lists
from mobilebert_core.tokenizer_files import TOKENIZER, VOCABULARY, VocabularySource, read_vocabulary

_MODEL_INPUT_NAMES = ["input_ids", "token_type_ids", "attention_mask"]
WORDPIECE_DEFAULTS: dict[str, Any] = {"clean_text": True, "wordpieces_prefix": "##", "max_input_chars_per_word": 100}
GENERAL_DEFAULTS: dict[str, Any] = {
    "model_max_length": None,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": _MODEL_INPUT_NAMES,
    "clean_up_tokenization_spaces": True,
    "split_special_tokens": False,
    "pad_token_type_id": 0,
    "name_or_path": "",
}

class TokenizerBase(ModelInputs):
    """A BERT tokenizer whose way from text to pieces a subclass supplies.

    Keywords of both tokenizers besides those listed there: `model_max_length`, `padding_side` and `truncation_side`
    ("right" or "left"), `model_input_names`, `clean_up_tokenization_spaces` (decode "don't" rather than "don ' t"),
    `split_special_tokens` (take "[MASK]" in a text for five ordinary characters), `additional_special_tokens`,
    `bos_token`, `eos_token`, `clean_text`, `wordpieces_prefix`, `max_input_chars_per_word`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": VOCABULARY, "tokenizer_file": TOKENIZER}
    is_fast: ClassVar[bool]

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None,
        tokenizer_file: str | os.PathLike[str] | None,
        special_tokens: Mapping[str, Any],
        arguments: dict[str, Any],
        keywords: dict[str, Any],
    ) -> None:
        if "max_len" in keywords:  # the name before transformers 3
            keywords.setdefault("model_max_length", keywords.pop("max_len"))
        named = {"bos_token": None, "eos_token": None, **special_tokens}
        named.update({name: keywords.pop(name) for name in ("bos_token", "eos_token") if name in keywords})
        additional = keywords.pop(ADDITIONAL, None) or keywords.pop("extra_special_tokens", None) or ()
        decoder = keywords.pop("added_tokens_decoder", None) or {}
        self._config_extras: dict[str, Any] = keywords.pop("_config_extras", {})
        self._arguments = {**arguments, **{key: keywords.pop(key, value) for key, value in WORDPIECE_DEFAULTS.items()}}
        keywords.pop("verbose", None)
        source: VocabularySource | None = keywords.pop("_source", None)
        self._set_general(keywords)
        self._warned_too_long = False

        source = source or read_vocabulary(vocab_file, tokenizer_file)
        self._vocabulary = source.vocabulary
        self._ids_to_tokens: dict[int, str] = {index: token for token, index in source.vocabulary.items()}
        self._added = {**source.added, **{int(index): AddedToken.of(token) for index, token in decoder.items()}}
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._check_added(source)
        flags = {token.content: token for token in self._added.values()}
        self._special = {
            name: None if named[name] is None else AddedToken.of(flags.get(str(named[name]), named[name]), special=True)
            for name in SPECIAL_TOKEN_NAMES
        }
        self._additional = [AddedToken.of(flags.get(str(token), token), special=True) for token in additional]
        self._check_unknown_token(str(self.unk_token), source.path)
        names = set(self.all_special_tokens)
        self._additional += [token for token in self._added.values() if token.special and token.content not in names]
        self._build()
        self._add(self.all_special_tokens_extended)

    def _set_general(self, keywords: dict[str, Any]) -> None:
        for name, default in GENERAL_DEFAULTS.items():
            setattr(self, name, keywords.pop(name, default))
        if self.model_max_length is None:
            self.model_max_length = NO_LIMIT
        self.model_input_names = list(self.model_input_names)
        for name in ("padding_side", "truncation_side"):
            if getattr(self, name) not in ("right", "left"):
                raise TokenizerError(f"{name}: wanted 'right' or 'left', came {getattr(self, name)!r}.")
        if keywords:
            name = next(iter(keywords))
            known = (*GENERAL_DEFAULTS, *self._arguments, ADDITIONAL, *SPECIAL_TOKEN_NAMES)
            near = difflib.get_close_matches(name, known, 1)
            raise TokenizerError(
                f"{type(self).__name__}: wanted arguments it knows, came {', '.join(map(repr, keywords))}."
                + (f" Did you mean {near[0]!r}?" if near else f" It knows {', '.join(sorted(known))}.")
            )

    def _check_added(self, source: VocabularySource) -> None:
        for index, token in self._added.items():
            known = source.vocabulary.get(token.content)
            if (known is not None and known != index) or self._ids_to_tokens.get(index, token.content) != token.content:
                raise TokenizerError(
                    f"{source.path}: wanted added token {token.content!r} at id {index}, but there the vocabulary has"
                    f" {self._ids_to_tokens.get(index)!r} and for the token the id {known}."
                    " The added tokens belong to another vocabulary; load the files that were saved together."
                )

    def _check_unknown_token(self, token: str, path: str = "add_special_tokens") -> None:
        if token not in self._vocabulary:
            raise TokenizerError(
                f"{path}: wanted a vocabulary that holds the unk_token, came {len(self._vocabulary)} tokens without"
                f" {token!r}. Pass the right file, or unk_token=... as this vocabulary calls it."
            )

    def _build(self) -> None:
        """Makes what turns text into pieces, from the state of this object."""
        raise NotImplementedError

    def _normalize(self, text: str) -> str:
        """`text` as words are looked up in it."""
        raise NotImplementedError

    def _special_tokens_changed(self) -> None:
        self._check_unknown_token(str(self.unk_token), "unk_token")
        self._build()

    # Vocabulary ------------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the model's own vocabulary, added ones left out; `len(tokenizer)` counts all."""
        return len(self._vocabulary)

    def __len__(self) -> int:
        return len(self._vocabulary) + sum(token not in self._vocabulary for token in self._added_ids)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size},"
            f" model_max_length={self.model_max_length}, padding_side={self.padding_side!r},"
            f" truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )

    @property
    def vocab(self) -> dict[str, int]:
        """Text to id for the whole vocabulary, added tokens included."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Text to id for the whole vocabulary, added tokens included; a new dictionary."""
        return {**self._vocabulary, **self.added_tokens_encoder}

    def _find_id(self, token: str) -> int | None:
        index = self._vocabulary.get(token)
        return self._added_ids.get(token) if index is None else index

    def _next_id(self) -> int:
        return max(len(self._vocabulary), max(self._added, default=-1) + 1, max(self._ids_to_tokens) + 1)

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of one text that the model takes besides the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """Tokens of two texts together that the model takes besides the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Id of a token, or ids of a list of them; unknown ones give the id of `unk_token`."""
        if tokens is None:
            return None
        if isinstance(tokens, str):
            index = self._find_id(tokens)
            if index is None:  # an added token may have been matched in normalised text, and is listed so by `tokenize`
                index = next((i for token, i in self._added_ids.items() if self._normalize(token) == tokens), None)
            return self.unk_token_id if index is None else index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Token of an id, or tokens of ids in a list or tensor."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            return self._token_of(ids)
        special = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._token_of(int(index)) for index in ids if index not in special]

    def _token_of(self, index: int) -> str | None:
        raise NotImplementedError

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined to text, pieces to words."""
        raise NotImplementedError

    # Encoding --------------------------------------------------------------------------------------------------------

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
            raise TokenizerError("tokenizer: wanted text, came None. Pass a string or a list of strings.")
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
                came = len(text_pair) if isinstance(text_pair, list | tuple) else f"one {type(text_pair).__name__}"
                raise TokenizerError(
                    f"text_pair: wanted a list of {len(text)} texts as in `text`, came {came}."
                    " Pass one second text for every first one."
                )
            text = list(zip(text, text_pair, strict=True))
        else:
            text = [(item, None) for item in text]
        return self._encode_batch(text, return_tensors, self._options(**options))

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The input ids alone of one text or pair (given as text, tokens or ids); takes the options of a call."""
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
                f"batch_encode_plus: wanted a list, came {type(batch_text_or_text_pairs).__name__}."
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
        verbose: bool = True,
        split_special_tokens: bool | None = None,
        **options: Any,
    ) -> EncodingOptions:
        padding, truncation, max_length = resolve_strategies(
            padding, truncation, max_length, pad_to_multiple_of, self.model_max_length
        )
        if return_token_type_ids is None:
            return_token_type_ids = "token_type_ids" in self.model_input_names
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        unknown = [name for name in options if name not in EncodingOptions.__dataclass_fields__]
        if unknown:
            raise TokenizerError(
                f"tokenizer: wanted options it knows, came {', '.join(map(repr, unknown))}."
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
        special = self.num_special_tokens_to_add() if resolved.add_special_tokens else 0
        if truncation != "do_not_truncate" and max_length is not None and max_length < special:
            raise TokenizerError(
                f"max_length: wanted room for the {special} special tokens, came {max_length}."
                " Raise it or pass add_special_tokens=False."
            )
        return resolved

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
            return [item if isinstance(item, int) else self.convert_tokens_to_ids(item) for item in items]

        arranged = [self._arrange(ids(a), None if b is None else ids(b), options)[0] for a, b in rows]
        return BatchEncoding(self._pad_rows(arranged, options), None, return_tensors, is_fast=self.is_fast)

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """The pieces of a text, and of a second one, as texts."""
        return self.encode_plus(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    # Decoding --------------------------------------------------------------------------------------------------------

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Text of an id or of a list or tensor of ids. Case, accents and spacing of the original are not restored."""
        ids = as_lists(token_ids)
        ids = [ids] if isinstance(ids, int) else ids
        if any(not hasattr(index, "__index__") for index in ids):
            raise TokenizerError(
                f"decode: wanted ids of one sequence, came {type(ids[0]).__name__} items. Use batch_decode for several."
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
            hint = "is_split_into_words=True is for words" if options.is_split_into_words else "Convert it to text first"
            raise TokenizerError(
                f"tokenizer, row {number}: wanted {wanted}, came {type(text).__name__} ({str(text)[:60]!r}). {hint}."
            )

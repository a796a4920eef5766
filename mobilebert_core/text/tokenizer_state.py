"""The state of a tokenizer: its vocabulary, special tokens and options, and how they are checked."""

import difflib
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.added_tokens import AddedToken
from mobilebert_core.text.model_inputs import ModelInputs
from mobilebert_core.text.padding_truncation import NO_LIMIT
from mobilebert_core.text.special_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES
from mobilebert_core.text.tensor_conversion import as_lists
from mobilebert_core.text.tokenizer_files import TOKENIZER, VOCABULARY, VocabularySource, read_vocabulary

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


class TokenizerState(ModelInputs):
    """What a tokenizer knows. Subclasses say how text becomes pieces.

    Keywords of both tokenizers besides those listed there: `model_max_length`, `padding_side` and `truncation_side`
    ("right" or "left"), `model_input_names`, `clean_up_tokenization_spaces` (decode "don't" rather than "don ' t"),
    `split_special_tokens` (take "[MASK]" in a text for five ordinary characters), `additional_special_tokens`,
    `bos_token`, `eos_token`, `clean_text`, `wordpieces_prefix`, `max_input_chars_per_word`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": VOCABULARY, "tokenizer_file": TOKENIZER}
    is_fast: ClassVar[bool]
    split_special_tokens: bool
    clean_up_tokenization_spaces: bool
    name_or_path: str

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
        self._register(self.all_special_tokens_extended)
        self._build()

    def _set_general(self, keywords: dict[str, Any]) -> None:
        for name, default in GENERAL_DEFAULTS.items():
            setattr(self, name, keywords.pop(name, default))
        if self.model_max_length is None:
            self.model_max_length = NO_LIMIT
        self.model_input_names = list(self.model_input_names)
        for name in ("padding_side", "truncation_side"):
            if getattr(self, name) not in ("right", "left"):
                raise TokenizerError(f"{name}: wanted 'right' or 'left', got {getattr(self, name)!r}.")
        if keywords:
            name = next(iter(keywords))
            known = (*GENERAL_DEFAULTS, *self._arguments, ADDITIONAL, *SPECIAL_TOKEN_NAMES)
            near = difflib.get_close_matches(name, known, 1)
            raise TokenizerError(
                f"{type(self).__name__}: wanted arguments it knows, got {', '.join(map(repr, keywords))}."
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
                f"{path}: wanted a vocabulary that holds the unk_token, got {len(self._vocabulary)} tokens without"
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
            if index is None:  # `tokenize` lists added tokens as they are matched, in normalised text
                names = (tokens, self._normalize(tokens))
                index = next((i for token, i in self._added_ids.items() if self._normalize(token) in names), None)
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

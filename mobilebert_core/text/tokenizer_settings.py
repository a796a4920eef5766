"""The keywords that both tokenizers take: their defaults, and how a constructor sorts and checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..errors import TokenizerError
from ..spelling import did_you_mean
from .added_tokens import ADDITIONAL, EXTRA, SPECIAL_TOKEN_NAMES, AddedToken
from .padding_truncation import NO_LIMIT
from .tokenizer_files import VocabularySource
from .tokenizer_values import read_values

# How words become pieces; the constructors pass these on.
WORDPIECE_DEFAULTS: dict[str, Any] = {"clean_text": True, "wordpieces_prefix": "##", "max_input_chars_per_word": 100}
# Plain attributes of a tokenizer, which users may change at any time.
GENERAL_DEFAULTS: dict[str, Any] = {
    "model_max_length": None,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    "clean_up_tokenization_spaces": True,
    "split_special_tokens": False,
    "pad_token_type_id": 0,
    "name_or_path": "",
}


@dataclass(frozen=True)
class TokenizerSettings:
    """What a constructor got, sorted: special tokens by name, plain attributes, and how text is normalized and split.

    `source` and `config_extras` come from `from_pretrained`: the vocabulary that it read, and entries of
    tokenizer_config.json that are kept for saving.
    """

    named: Mapping[str, Any]
    additional: Any
    added: Mapping[int, AddedToken]  # by id
    general: Mapping[str, Any]
    splitting: dict[str, Any]
    source: VocabularySource | None
    config_extras: dict[str, Any]

    @classmethod
    def sort(
        cls,
        tokenizer: str,
        special_tokens: Mapping[str, Any],
        splitting: Mapping[str, Any],
        keywords: Mapping[str, Any],
    ) -> Self:
        """The settings for a class called `tokenizer`. Raises `TokenizerError` for a keyword that it does not know."""
        rest = read_values(tokenizer, keywords)
        special_tokens, splitting = read_values(tokenizer, special_tokens), read_values(tokenizer, splitting)
        if "max_len" in rest:  # the name before transformers 3
            rest.setdefault("model_max_length", rest.pop("max_len"))
        named = {"bos_token": None, "eos_token": None, **special_tokens}
        named.update({name: rest.pop(name) for name in ("bos_token", "eos_token") if name in rest})
        additional = rest.pop(ADDITIONAL, None) or rest.pop(EXTRA, None) or ()
        added = rest.pop("added_tokens_decoder", None) or {}
        extras = rest.pop("_config_extras", {})
        splitting = {**splitting, **{name: rest.pop(name, value) for name, value in WORDPIECE_DEFAULTS.items()}}
        for name in ("verbose", "from_slow"):
            rest.pop(name, None)
        source = rest.pop("_source", None)
        general = {name: rest.pop(name, value) for name, value in GENERAL_DEFAULTS.items()}
        if general["model_max_length"] is None:
            general["model_max_length"] = NO_LIMIT
        if rest:
            raise _unknown(tokenizer, list(rest), (*GENERAL_DEFAULTS, *splitting, ADDITIONAL, *SPECIAL_TOKEN_NAMES))
        return cls(named, additional, added, general, splitting, source, extras)


def _unknown(tokenizer: str, keywords: list[str], known: tuple[str, ...]) -> TokenizerError:
    return TokenizerError(
        f"{tokenizer}: wanted arguments it knows, got {', '.join(map(repr, keywords))}."
        + (did_you_mean(keywords[0], known) or f" It knows {', '.join(sorted(known))}.")
    )

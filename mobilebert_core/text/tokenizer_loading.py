"""Loading a tokenizer: from a directory, a file or a name on the hub to the arguments of a constructor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import TOKENIZER_FILES, tokenizer_place
from ..hub.resolve import resolve, take_hub_keywords
from ..saves import home
from ..steady_reads import steady
from .added_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES
from .tokenizer_files import TokenizerDirectory, VocabularySource, read_vocabulary
from .tokenizer_settings import GENERAL_DEFAULTS, WORDPIECE_DEFAULTS

# Keywords of from_pretrained in transformers, whose Auto class adds some of its own; `use_fast` is AutoTokenizer's.
_WITHOUT_EFFECT = (
    "trust_remote_code", "use_fast", "code_revision", "config", "tokenizer_type", "_commit_hash", "_from_auto",
    "_from_pipeline",
)  # fmt: skip
_ARGUMENTS = {
    *SPECIAL_TOKEN_NAMES, ADDITIONAL, *GENERAL_DEFAULTS, *WORDPIECE_DEFAULTS, "max_len", "added_tokens_decoder",
    "do_lower_case", "do_basic_tokenize", "never_split", "tokenize_chinese_chars", "strip_accents",
}  # fmt: skip
# Keys of tokenizer_config.json that describe its directory or its writer: neither arguments nor written back.
_NOT_KEPT = {
    "vocab_file", "tokenizer_file", "special_tokens_map_file", "added_tokens_file", "name_or_path", "tokenizer_class",
    "backend", "init_inputs", "auto_map", "is_local",
}  # fmt: skip


def constructor_arguments(
    name_or_path: str | os.PathLike[str], overrides: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """`vocab_file` and keywords that make the tokenizer at `name_or_path`; `overrides` win over what its files say."""
    overrides = dict(overrides)
    hub = take_hub_keywords(overrides)
    place = tokenizer_place(resolve(name_or_path, tokenizer=True, **hub))

    def read() -> tuple[str | None, VocabularySource, dict[str, Any]]:
        found = TokenizerDirectory.find(place)
        source = read_vocabulary(found.vocab_file, found.tokenizer_file)
        return found.vocab_file and str(home(Path(found.vocab_file))), source, found.arguments()

    vocab_file, source, written = steady(
        place if place.is_dir() else place.parent, read, lambda name: name in (*TOKENIZER_FILES, place.name)
    )
    arguments = {key: value for key, value in written.items() if key in _ARGUMENTS}
    extras = {key: value for key, value in written.items() if key not in _ARGUMENTS | _NOT_KEPT}
    arguments |= {key: value for key, value in overrides.items() if key not in _WITHOUT_EFFECT}
    arguments["name_or_path"] = os.fspath(name_or_path)
    return vocab_file, {**source.arguments, **arguments, "_source": source, "_config_extras": extras}

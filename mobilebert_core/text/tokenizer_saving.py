"""Saving a tokenizer: the texts of its files, and writing them to a directory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TokenizerError
from ..files import directory_to_save_in, write_text
from ..saves import saving
from .added_tokens import AddedToken
from .special_tokens import SpecialTokens
from .token_table import TokenTable
from .tokenizer_files import ADDED, CONFIG, NORMALIZER_KEYS, SPECIAL_MAP, TOKENIZER, VOCABULARY
from .tokenizer_settings import GENERAL_DEFAULTS, WORDPIECE_DEFAULTS


def tokenizer_json(table: TokenTable, special: SpecialTokens, splitting: Mapping[str, Any]) -> str:
    """A tokenizer.json as the `tokenizers` library writes it, with BERT's [CLS] A [SEP] B [SEP] around the texts."""
    cls_token, sep_token = (_around(special, name) for name in ("cls_token", "sep_token"))
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, **token.as_dict()} for index, token in table.added_by_id().items()],
        "normalizer": {
            "type": "BertNormalizer",
            **{theirs: splitting[ours] for theirs, ours in NORMALIZER_KEYS.items()},
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(cls_token, sep_token),
        "decoder": {"type": "WordPiece", "prefix": splitting["wordpieces_prefix"], "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": special.unknown,
            "continuing_subword_prefix": splitting["wordpieces_prefix"],
            "max_input_chars_per_word": splitting["max_input_chars_per_word"],
            "vocab": dict(sorted(table.vocabulary.items(), key=lambda item: item[1])),
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _around(special: SpecialTokens, name: str) -> tuple[str, int]:
    text, index = special.text(name), special.id(name)
    if text is None or index is None:
        raise TokenizerError(
            f"{name}: wanted a token, which {TOKENIZER} puts around each text, got None. Name one, or use"
            " MobileBertTokenizer."
        )
    return text, index


def _template(cls_token: tuple[str, int], sep_token: tuple[str, int]) -> dict[str, Any]:
    """The entry of tokenizer.json that puts special tokens around the texts A and B."""

    def special(token: tuple[str, int], type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token[0], "type_id": type_id}}

    def text(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special(cls_token, 0), text("A", 0), special(sep_token, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), special(sep_token, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]} for token, index in (cls_token, sep_token)
        },
    }


def tokenizer_config(
    general: Mapping[str, Any],
    splitting: Mapping[str, Any],
    extras: Mapping[str, Any],
    table: TokenTable,
    special: SpecialTokens,
) -> dict[str, Any]:
    """What stands in tokenizer_config.json. Arguments that transformers does not know only when they matter.

    `name_or_path` never does, as in transformers: it may be a path of the user's machine.
    """
    defaults = {**GENERAL_DEFAULTS, **WORDPIECE_DEFAULTS}
    always = ("model_max_length", "clean_up_tokenization_spaces")
    values = {name: value for name, value in {**general, **splitting}.items() if name != "name_or_path"}
    return {
        **extras,
        **{name: value for name, value in values.items() if name in always or value != defaults.get(name, ())},
        **special.texts_by_name(),
        "added_tokens_decoder": {str(index): token.as_dict() for index, token in table.added_by_id().items()},
        "tokenizer_class": "MobileBertTokenizer",
    }


def write_tokenizer(
    save_directory: str | os.PathLike[str],
    config: Mapping[str, Any],
    splitting: Mapping[str, Any],
    table: TokenTable,
    special: SpecialTokens,
    legacy_format: bool | None,
    filename_prefix: str | None,
) -> tuple[str, ...]:
    """Writes the files of a tokenizer, which are seen at once, and returns their paths.

    Raises `TokenizerError` for what is no directory, and when tokenizer.json is wanted (`legacy_format=False`) but
    cannot describe the tokenizer.
    """
    directory = directory_to_save_in(save_directory, TokenizerError)
    describable = not splitting.get("never_split") and splitting.get("do_basic_tokenize", True)
    describable = describable and None not in (special.text("cls_token"), special.text("sep_token"))
    if legacy_format is False and not describable:
        raise TokenizerError(
            f"{directory}: wanted a tokenizer that {TOKENIZER} can describe, got one with never_split, or without"
            " basic tokenization, cls_token or sep_token. Save it with legacy_format=None."
        )
    files = {
        CONFIG: _json_text(config),
        SPECIAL_MAP: _json_text({name: _plain(token) for name, token in special.by_name().items()}),
    }
    if legacy_format is not False:
        files[VOCABULARY] = _vocabulary_text(table.vocabulary)
        if added := table.outside_vocabulary():
            files[ADDED] = _json_text(added)
    if legacy_format is not True and describable:
        files[TOKENIZER] = tokenizer_json(table, special, splitting)
    contradicting = {ADDED, TOKENIZER, VOCABULARY} - files.keys()  # if they are there, of an earlier tokenizer
    with saving(directory) as save:
        for name, text in files.items():
            write_text(_path(save.stage, name, filename_prefix), text)
        save.stale |= {re.compile(re.escape(_path(directory, name, filename_prefix).name)) for name in contradicting}
    return tuple(str(_path(directory, name, filename_prefix)) for name in files)


def write_vocabulary(
    save_directory: str | os.PathLike[str], vocabulary: Mapping[str, int], filename_prefix: str | None
) -> str:
    """Writes vocab.txt and returns its path."""
    directory = Path(save_directory)
    if not directory.is_dir():
        raise TokenizerError(f"{directory}: wanted a directory to save in, got none. Create it first.")
    path = _path(directory, VOCABULARY, filename_prefix)
    write_text(path, _vocabulary_text(vocabulary))
    return str(path)


def _path(directory: Path, name: str, prefix: str | None) -> Path:
    return directory / (f"{prefix}-{name}" if prefix else name)


def _vocabulary_text(vocabulary: Mapping[str, int]) -> str:
    """A vocab.txt. Ids that no token has get a line of the next token, which reading overrides with its own line."""
    lines: list[str] = []
    for token, index in sorted(vocabulary.items(), key=lambda item: item[1]):
        lines += [token] * (index - len(lines)) + [token]
    return "".join(f"{line}\n" for line in lines)


def _json_text(content: Mapping[str, Any]) -> str:
    """An object as transformers formats it in its files."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(token: AddedToken | list[AddedToken]) -> Any:
    """A special token as special_tokens_map.json has it: text alone when that says it all."""
    if isinstance(token, list):
        return [_plain(item) for item in token]
    usual = not (token.single_word or token.lstrip or token.rstrip or token.normalized)
    return token.content if usual else token.as_dict(with_special=False)

"""The files of a tokenizer directory, of both generations of transformers: what they hold, read and written.

transformers 4 writes vocab.txt, tokenizer_config.json, special_tokens_map.json, added_tokens.json and, from its fast
tokenizers, tokenizer.json; transformers 5 writes tokenizer.json and tokenizer_config.json only.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, TokenizerError
from mobilebert_core.files import TOKENIZER_FILES, read_json
from mobilebert_core.text.added_tokens import AddedToken
from mobilebert_core.text.special_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES
from mobilebert_core.text.wordpiece import load_vocabulary

VOCABULARY, TOKENIZER, CONFIG, SPECIAL_MAP, ADDED = TOKENIZER_FILES

# Keys of a tokenizer.json's normaliser and the constructor arguments that say the same.
_NORMALIZER_KEYS = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}


@dataclass
class VocabularySource:
    """A model vocabulary, with what its file says besides: constructor arguments and added tokens."""

    vocabulary: dict[str, int]
    path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    added: dict[int, AddedToken] = field(default_factory=dict)


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a tokenizer; `TokenizerError` when it is damaged."""
    try:
        return read_json(path)
    except CheckpointNotFoundError:
        raise
    except CheckpointError as error:
        raise TokenizerError(f"{error} Copy the file again.") from error


def read_vocabulary(
    vocab_file: str | os.PathLike[str] | None, tokenizer_file: str | os.PathLike[str] | None
) -> VocabularySource:
    """The vocabulary of a vocab.txt, of a tokenizer.json, or of both when they agree."""
    if vocab_file is None and tokenizer_file is None:
        raise TokenizerError(
            "tokenizer: wanted vocab_file or tokenizer_file, got neither."
            " Pass the path of a vocab.txt or a tokenizer.json, or use from_pretrained(directory)."
        )
    if tokenizer_file is None:
        assert vocab_file is not None
        return VocabularySource(load_vocabulary(vocab_file), os.fspath(vocab_file))
    source = _read_tokenizer_json(tokenizer_file)
    if vocab_file is not None:
        _check_agreement(load_vocabulary(vocab_file), vocab_file, source)
    return source


def _read_tokenizer_json(path: str | os.PathLike[str]) -> VocabularySource:
    content = read_tokenizer_json(Path(path))
    model, normalizer = content.get("model") or {}, content.get("normalizer") or {}
    kinds = (model.get("type", "WordPiece"), normalizer.get("type"))
    if kinds != ("WordPiece", "BertNormalizer") or not isinstance(model.get("vocab"), dict):
        raise TokenizerError(
            f"{os.fspath(path)}: wanted a WordPiece model behind a BertNormalizer, got {kinds[0]} behind {kinds[1]}."
            " This is not a BERT tokenizer; use the one that belongs to MobileBERT."
        )
    arguments = {ours: normalizer[theirs] for theirs, ours in _NORMALIZER_KEYS.items() if theirs in normalizer}
    arguments["wordpieces_prefix"] = model.get("continuing_subword_prefix", "##")
    arguments["max_input_chars_per_word"] = model.get("max_input_chars_per_word", 100)
    arguments["unk_token"] = model.get("unk_token", "[UNK]")
    added = {int(token["id"]): AddedToken.of(token) for token in content.get("added_tokens") or ()}
    return VocabularySource(model["vocab"], os.fspath(path), arguments, added)


def _check_agreement(vocabulary: dict[str, int], path: str | os.PathLike[str], source: VocabularySource) -> None:
    if vocabulary == source.vocabulary:
        return
    differing = [token for token, index in vocabulary.items() if source.vocabulary.get(token) != index]
    example = next(iter(differing or [token for token in source.vocabulary if token not in vocabulary]))
    raise TokenizerError(
        f"{os.fspath(path)} and {source.path}: wanted the same vocabulary in both, got {len(vocabulary)} and"
        f" {len(source.vocabulary)} tokens, which differ for example at {example!r}"
        f" (ids {vocabulary.get(example)} and {source.vocabulary.get(example)})."
        " Delete the file that is out of date."
    )


@dataclass(frozen=True)
class TokenizerDirectory:
    """A directory with tokenizer files; only `vocab_file` or `tokenizer_file` may be missing, not both."""

    path: str
    vocab_file: str | None
    tokenizer_file: str | None

    @classmethod
    def find(cls, place: Path) -> "TokenizerDirectory":
        """The tokenizer at `place`: a directory, or the path of a vocab.txt or tokenizer.json itself."""
        if place.is_file():
            if place.suffix == ".json":
                return cls(str(place), None, str(place))
            return cls(str(place), str(place), None)
        if not place.is_dir():
            raise CheckpointNotFoundError(
                f"{place}: wanted a directory with {VOCABULARY} or {TOKENIZER}, or the path of such a file;"
                f" nothing is at {place.absolute()}. Check the path."
            )
        vocabulary, tokenizer = place / VOCABULARY, place / TOKENIZER
        if not vocabulary.is_file() and not tokenizer.is_file():
            raise CheckpointNotFoundError(
                f"{place}: wanted {VOCABULARY} or {TOKENIZER} in the directory, found"
                f" {', '.join(sorted(item.name for item in place.iterdir())[:10]) or 'no files'}."
                " Copy the tokenizer's files there or pass another directory."
            )
        return cls(
            str(place),
            str(vocabulary) if vocabulary.is_file() else None,
            str(tokenizer) if tokenizer.is_file() else None,
        )

    def _optional(self, name: str) -> dict[str, Any] | None:
        file = Path(self.path, name)
        return read_tokenizer_json(file) if Path(self.path).is_dir() and file.is_file() else None

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments that the files besides the vocabulary give, `added_tokens_decoder` among them."""
        values = self._optional(CONFIG) or {}
        special = self._optional(SPECIAL_MAP) or {}
        if "added_tokens_decoder" in values:
            decoder = {int(index): AddedToken.of(token) for index, token in values["added_tokens_decoder"].items()}
        else:  # written before transformers 4.34: the other files have the say
            names = {str(values.get(name)) for name in SPECIAL_TOKEN_NAMES}
            values.update(special)
            decoder = {
                int(index): AddedToken(token, special=token in names)
                for token, index in (self._optional(ADDED) or {}).items()
            }
        for name, value in special.items():
            values.setdefault(name, value)
        if values.get("extra_special_tokens"):  # the name in transformers 5
            values.setdefault(ADDITIONAL, values["extra_special_tokens"])
        values.pop("extra_special_tokens", None)
        values["added_tokens_decoder"] = decoder
        return values


def tokenizer_json(
    vocabulary: Mapping[str, int],
    added: Mapping[int, AddedToken],
    arguments: Mapping[str, Any],
    cls_token: tuple[str, int],
    sep_token: tuple[str, int],
) -> str:
    """A tokenizer.json as the `tokenizers` library writes it, with BERT's [CLS] A [SEP] B [SEP] around the texts."""

    def special(token: tuple[str, int], type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token[0], "type_id": type_id}}

    def text(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special(cls_token, 0), text("A", 0), special(sep_token, 0)]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, **token.as_dict()} for index, token in sorted(added.items())],
        "normalizer": {
            "type": "BertNormalizer",
            **{theirs: arguments[ours] for theirs, ours in _NORMALIZER_KEYS.items()},
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, text("B", 1), special(sep_token, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [index], "tokens": [token]} for token, index in (cls_token, sep_token)
            },
        },
        "decoder": {"type": "WordPiece", "prefix": arguments["wordpieces_prefix"], "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": arguments["unk_token"],
            "continuing_subword_prefix": arguments["wordpieces_prefix"],
            "max_input_chars_per_word": arguments["max_input_chars_per_word"],
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def vocabulary_text(vocabulary: Mapping[str, int]) -> str:
    """A vocab.txt. Ids that no token has get a line of the next token, which reading overrides with its own line."""
    lines: list[str] = []
    for token, index in sorted(vocabulary.items(), key=lambda item: item[1]):
        lines += [token] * (index - len(lines)) + [token]
    return "".join(f"{line}\n" for line in lines)


def json_text(content: Mapping[str, Any]) -> str:
    """An object as transformers formats it in its files."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

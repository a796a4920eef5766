"""The files of a tokenizer directory, of both generations of transformers: their names, and what they hold.

transformers 4 writes vocab.txt, tokenizer_config.json, special_tokens_map.json, added_tokens.json and, from its fast
tokenizers, tokenizer.json; transformers 5 writes tokenizer.json and tokenizer_config.json only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CheckpointNotFoundError, TokenizerError
from ..files import TOKENIZER_FILES, names_in, nearest, read_json
from ..saves import current
from . import tokenizer_values as values
from .added_tokens import ADDITIONAL, EXTRA, SPECIAL_TOKEN_NAMES, AddedToken
from .wordpiece import load_vocabulary

VOCABULARY, TOKENIZER, CONFIG, SPECIAL_MAP, ADDED = TOKENIZER_FILES

# Keys of a tokenizer.json's normalizer and the constructor arguments that say the same.
NORMALIZER_KEYS = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}


# Keys of a tokenizer.json's model, the arguments that say the same, and what the library takes where they are missing.
_MODEL_KEYS = {
    "continuing_subword_prefix": ("wordpieces_prefix", "##"),
    "max_input_chars_per_word": ("max_input_chars_per_word", 100),
    "unk_token": ("unk_token", "[UNK]"),
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
        content = read_json(path)
        json.dumps(content, ensure_ascii=False).encode()
    except CheckpointNotFoundError:
        raise
    except CheckpointError as error:
        raise TokenizerError(f"{error} Copy the file again.") from error
    except UnicodeEncodeError as error:
        raise TokenizerError(f"{path}: wanted text, got half a character ({error.object[error.start]!r}).") from None
    return content


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
    place = os.fspath(path)
    content = read_tokenizer_json(Path(path))
    model, normalizer = (values.mapping_or_nothing(f"{place}: {n}", content.get(n)) for n in ("model", "normalizer"))
    kinds = (model.get("type", "WordPiece"), normalizer.get("type"))
    if kinds != ("WordPiece", "BertNormalizer") or "vocab" not in model:
        raise TokenizerError(
            f"{place}: wanted a WordPiece model behind a BertNormalizer, got {kinds[0]} behind {kinds[1]}."
            " This is not a BERT tokenizer; use the one that belongs to MobileBERT."
        )
    normalizing = {ours: normalizer[theirs] for theirs, ours in NORMALIZER_KEYS.items() if theirs in normalizer}
    splitting = {ours: model.get(theirs, default) for theirs, (ours, default) in _MODEL_KEYS.items()}
    arguments = {
        **values.read_values(f"{place}: normalizer", normalizing),
        **values.read_values(f"{place}: model", splitting),
    }
    vocabulary = values.read_vocabulary_ids(f"{place}: model: vocab", model["vocab"])
    return VocabularySource(vocabulary, place, arguments, _listed_tokens(f"{place}: added_tokens", content))


def _listed_tokens(place: str, content: dict[str, Any]) -> dict[int, AddedToken]:
    tokens = values.list_or_nothing(place, content.get("added_tokens"))
    return values.numbered(
        place, ((values.mapping_or_nothing(f"{place}[{n}]", token).get("id"), token) for n, token in enumerate(tokens))
    )


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
    def find(cls, place: Path) -> TokenizerDirectory:
        """The tokenizer at `place`: a directory, or the path of a vocab.txt or tokenizer.json itself."""
        if place.is_file():
            if place.suffix == ".json":
                return cls(str(place), None, str(place))
            return cls(str(place), str(place), None)
        if not place.is_dir():
            raise CheckpointNotFoundError(
                f"{place}: wanted a directory with {VOCABULARY} or {TOKENIZER}, or the path of such a file;"
                f" nothing is at {place.absolute()}. Check the path. {nearest(place)}"
            )
        vocabulary, tokenizer = current(place / VOCABULARY), current(place / TOKENIZER)
        if not vocabulary.is_file() and not tokenizer.is_file():
            raise CheckpointNotFoundError(
                f"{place}: wanted {VOCABULARY} or {TOKENIZER} in the directory, found {names_in(place)}. Copy the "
                "tokenizer's files there or pass another directory."
            )
        return cls(
            str(place),
            str(vocabulary) if vocabulary.is_file() else None,
            str(tokenizer) if tokenizer.is_file() else None,
        )

    def _optional(self, name: str) -> dict[str, Any] | None:
        file = current(Path(self.path, name))
        return read_tokenizer_json(file) if Path(self.path).is_dir() and file.is_file() else None

    def _settings(self, name: str) -> dict[str, Any]:
        file = str(Path(self.path, name))
        return values.read_values(file, self._optional(name) or {})

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments in the files besides the vocabulary, `added_tokens_decoder` among them."""
        found, special = self._settings(CONFIG), self._settings(SPECIAL_MAP)
        if "added_tokens_decoder" not in found:  # written before transformers 4.34: the other files name them
            names = {str(found.get(name)) for name in SPECIAL_TOKEN_NAMES}
            found.update(special)
            found["added_tokens_decoder"] = values.numbered(
                str(Path(self.path, ADDED)),
                (
                    (index, AddedToken(token, special=token in names))
                    for token, index in (self._optional(ADDED) or {}).items()
                ),
            )
        for name, value in special.items():
            found.setdefault(name, value)
        if found.get(EXTRA):
            found.setdefault(ADDITIONAL, found[EXTRA])
        found.pop(EXTRA, None)
        return found

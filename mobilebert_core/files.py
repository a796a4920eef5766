"""Names of the files in a checkpoint directory, and reading and writing them whole or not at all."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from .errors import CheckpointError, CheckpointNotFoundError, MobileBertError, what_to_do
from .places import check_places
from .saves import current, saving

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TENSORFLOW_FILE = "tf_model.h5"  # of transformers' TensorFlow models
PICKLE_FILE = "pytorch_model.bin"  # of older checkpoints
PROVENANCE_FILE = "provenance.json"  # of a conversion: digests of what it read and wrote
EXPORT_FILE = "export.json"  # of an export: what its file is and was made from
INDEX_SUFFIX = ".index.json"  # of the file that says in which shard each weight is
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".keras", ".weights.json", ".index")
_INDEX = re.compile(r".*\.index(\.[^.]+)?\.json", re.DOTALL)

# Where several files with weights are, the first of these is loaded. Checkpoints of TensorFlow 1, which have
# names of their own, come after them.
WEIGHT_FILES = (
    WEIGHTS_FILE, WEIGHTS_FILE + INDEX_SUFFIX,
    PICKLE_FILE, PICKLE_FILE + INDEX_SUFFIX,
    TENSORFLOW_FILE, TENSORFLOW_FILE + INDEX_SUFFIX,
)  # fmt: skip
TENSORFLOW_1_INDEX = re.compile(r"([^/\\]+\.ckpt(?:-\d+)?)\.index")  # <checkpoint>.index beside <checkpoint>.data-*

_NAMES_SAID = 8  # of a directory, in a message
_MOST_NAMES = 10_000  # of a directory, among which a name that is like another is looked for
_VERY_LIKE = 0.85  # to difflib: a slip of a key or two

VOCABULARY_FILES = ("vocab.txt", "tokenizer.json")  # of a tokenizer, of which one must be there
TOKENIZER_FILES = (*VOCABULARY_FILES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def variant_name(file: str, variant: str | None) -> str:
    """The name of a file in a variant of the weights: "fp16" makes model.safetensors model.fp16.safetensors."""
    if not variant:
        return file
    if not isinstance(variant, str) or set(variant) & set("/\\\0:"):
        raise CheckpointError(f"variant: wanted a part of a file's name, such as 'fp16', got {variant!r}.")
    stem, _, ending = file.rpartition(".")
    return f"{stem}.{variant}.{ending}"


def is_index(file: str) -> bool:
    """True for the name of an index of shards, of a variant too: "model.safetensors.index.fp16.json"."""
    return _INDEX.fullmatch(file) is not None


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether a file, a directory or a TensorFlow checkpoint, by its prefix, is at a path or on its way there."""
    name = os.fspath(path)
    return name != "" and any(os.path.exists(current(Path(each))) for each in (name, f"{name}.index"))


def tokenizer_place(place: Path) -> Path:
    """Where the tokenizer of a path is: beside a file of weights or a TensorFlow checkpoint, else the path itself."""
    of_weights = place.name.endswith(_WEIGHT_ENDINGS) or is_index(place.name)
    if (of_weights and current(place).is_file()) or (not place.exists() and current(Path(f"{place}.index")).is_file()):
        return place.parent
    return place


class TwiceError(ValueError):
    """A key that a JSON object has twice."""


def different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs (`object_pairs_hook`). Raises TwiceError where one key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TwiceError(name)
            seen.add(name)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is not UTF-8 JSON, or not an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        there = path.parent.is_dir()
        seen = (
            f"the directory holds {names_in(path.parent)}." if there else f"no such directory. {nearest(path.parent)}"
        )
        raise CheckpointNotFoundError(f"{path}: file not found; {seen}") from None
    except UnicodeDecodeError as e:
        raise CheckpointError(f"{path}: wanted JSON text, got bytes that are not UTF-8 ({e.reason}).") from None
    except OSError as e:
        raise CheckpointNotFoundError(f"{path}: cannot be read ({e.strerror}). {what_to_do(e)}") from None
    try:
        value = json.loads(text, object_pairs_hook=different_keys)
    except TwiceError as e:
        raise CheckpointError(f"{path}: wanted different keys in a JSON object, got {str(e)!r} twice.") from None
    except ValueError as e:
        raise CheckpointError(f"{path}: wanted JSON, got text that ends or breaks off: {e}.") from None
    except RecursionError:
        raise CheckpointError(f"{path}: wanted a JSON object, got one that is nested too deeply.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: wanted a JSON object, got a {type(value).__name__}.")
    return value


def names_in(folder: Path) -> str:
    """What a directory holds, for a message: the first names without hidden ones, or that there are none."""
    every = sorted(path.name for path in folder.iterdir())
    names = [name for name in every if not name.startswith(".")]
    if not names:
        return "hidden files alone" if every else "nothing"
    more = f" and {len(names) - _NAMES_SAID} more" if len(names) > _NAMES_SAID else ""
    return ", ".join(names[:_NAMES_SAID]) + more


def nearest(path: str | os.PathLike[str], known: Iterable[str] = ()) -> str:
    """What is here in place of a path that is not, as a sentence: the name most like it, or the directory above.

    Names that are `known` without being here are named as well, where they are very like it.
    """
    folder = Path()
    try:
        parts = Path(path).expanduser().parts or (".",)
        for part in parts:
            if not (folder / part).is_dir():
                break
            folder /= part
        else:
            return f"The directory {folder} is there."
        names = [entry.name for entry in islice(os.scandir(folder), _MOST_NAMES)]
    except (OSError, ValueError, RuntimeError):  # a name that no file or user can have, a directory not to be read
        return "Check the spelling."
    if part in names:
        return f"{folder / part} is a link to nothing that is there."
    if len(parts) == 1:
        names += difflib.get_close_matches(part, known, 1, _VERY_LIKE)
    close = difflib.get_close_matches(part, names, 1)
    if close:
        return f"Did you mean {folder / close[0]}?"
    return f"The nearest directory that exists is {folder.absolute()}."


def weight_map(index: Path) -> dict[str, str]:
    """Weight to file, as the index of a checkpoint in several files says. The files lie beside it: others are refused.

    Raises:
        CheckpointNotFoundError: when the index is not there.
        CheckpointError: when it is no index, or names a file elsewhere.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index}: wanted an index with a weight_map of weights to files, got none.")
    for name, file in places.items():
        plain = isinstance(file, str) and file not in ("", ".", "..") and not set(file) & set("/\\\0:")
        if not plain:
            raise CheckpointError(
                f"{index}: {name} is said to be in {file!r}; wanted the name of a file beside the index. Not opened."
            )
    return places


def directory_to_save_in(place: Any, error: type[MobileBertError] = CheckpointError) -> Path:
    """The directory that a caller of `save_pretrained` names, which need not be there.

    Raises:
        CheckpointError: (or `error`) for what is no path, an empty one, or that of a file.
    """
    if not isinstance(place, str | os.PathLike) or not (name := os.fsdecode(place)) or "\0" in name:
        raise error(f"save_pretrained: wanted the path of a directory, got {place!r}. Nothing was written.")
    if os.path.exists(name) and not os.path.isdir(name):
        raise error(f"{place}: wanted a directory to save in, got a file. Pass another path.")
    return Path(name)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; parent directories are made."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block succeeds; parent directories are made.

    Whatever interrupts the block, the old file stays whole and the temporary one goes; see `saves.saving`.
    """
    check_places([path])
    with saving(path.parent, path) as save:
        yield save.stage / path.name


def same_file(one: Path | int, other: Path | int) -> bool:
    """Whether two paths, or numbers of open files, are one regular file, also by links of either kind."""
    try:
        first, second = os.stat(one), os.stat(other)
    except OSError:
        return False
    return stat.S_ISREG(first.st_mode) and os.path.samestat(first, second)


# In the metadata of an index and of each of its shards: which save both are of. Where it is not known yet, zeros.
SAVE_ID = "save_id"
NO_ID = "0" * 32


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

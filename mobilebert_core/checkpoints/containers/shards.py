"""Checkpoints written to one file, or to several of bounded size with an index of what lies where.

The names, sizes and index are those of transformers, which reads the result: `model.safetensors`, or
`model-00001-of-00002.safetensors` and so on with `model.safetensors.index.json`; likewise for other suffixes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...files import INDEX_SUFFIX, NO_ID, SAVE_ID, sha256, write_text
from ...saves import saving
from ..tensor_info import TensorInfo
from .safetensors import mark_safetensors, write_safetensors

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SPELLINGS = {unit.upper(): size for unit, size in _UNITS.items()}


def size_in_bytes(size: int | str) -> int:
    """A number of bytes, or a whole number with a unit in any case: "5GB" is 5 * 10**9, "1GiB" is 2**30.

    As in transformers "Gb", with a small b, means bits: an eighth of that.

    Raises:
        ConfigError: for anything else, or less than one byte.
    """
    if isinstance(size, str):
        parts = re.fullmatch(r"(\d{1,20}) *([KMG]i?B)", size.strip(), re.ASCII | re.IGNORECASE)
        found = int(parts[1]) * _SPELLINGS[parts[2].upper()] if parts else 0
        if parts and parts[2].endswith("b") and "I" not in parts[2].upper():
            found //= 8
    else:
        found = size
    if found < 1:
        raise ConfigError(
            f"max_shard_size: wanted a number of bytes or a text such as '5GB' ({', '.join(_UNITS)}), got {size!r}."
        )
    return found


def write_sharded(
    path: Path,
    stored: Mapping[str, TensorInfo],
    read: Callable[[str], np.ndarray],
    max_shard_size: int | str | None = None,
) -> None:
    """Writes a safetensors checkpoint in PyTorch's layout to `path`, or to shards beside it; see `write_files`.

    `stored` says what is written, `read` gives one array at a time.
    """

    def save(file: Path, names: Sequence[str]) -> None:
        write_safetensors(file, {name: stored[name] for name in names}, read, marked=len(names) < len(stored))

    write_files(path, {name: s.nbytes for name, s in stored.items()}, save, mark_safetensors, max_shard_size)


def write_files(
    path: Path,
    sizes: Mapping[str, int],
    write: Callable[[Path, Sequence[str]], None],
    mark: Callable[[Path, str], None],
    max_shard_size: int | str | None = None,
) -> None:
    """Writes weights to `path` when they fit `max_shard_size`, else to shards beside it and `<path>.index.json`.

    `sizes` are bytes by the name that stands in the index, in the order of writing; `write` writes the weights
    of some names to a file. A weight that is larger than `max_shard_size` gets a shard of its own; None means one file.

    Index and shards have the digest of all shards as the id of this save, which `mark` enters in a shard: a shard of
    another save, of the same names and shapes, is then seen.

    All files are seen at once, and what an earlier save left under `path` goes: shards, index or the one file.

    Raises:
        ConfigError: for a size that is none.
    """
    shards = _filled(sizes, None if max_shard_size is None else size_in_bytes(max_shard_size))
    with saving(path.parent) as save:
        if len(shards) == 1:
            write(save.stage / path.name, shards[0])
        else:
            files = [f"{path.stem}-{i:05d}-of-{len(shards):05d}{path.suffix}" for i in range(1, len(shards) + 1)]
            for file, names in zip(files, shards, strict=True):
                write(save.stage / file, names)
            weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
            digests = "".join(sha256(save.stage / file) for file in files)
            save_id = hashlib.sha256(digests.encode()).hexdigest()[: len(NO_ID)]
            for file in files:
                mark(save.stage / file, save_id)
            metadata = {"total_size": sum(sizes.values()), SAVE_ID: save_id}
            content = {"metadata": metadata, "weight_map": weight_map}
            write_text(save.stage / (path.name + INDEX_SUFFIX), json.dumps(content, indent=2, sort_keys=True) + "\n")
        save.stale.add(family_of(path.name))  # one of them might be read first, with other weights


def _filled(sizes: Mapping[str, int], limit: int | None) -> list[list[str]]:
    """Names in their order, as many to a shard as fit."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if limit is not None and shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def family_of(name: str) -> re.Pattern[str]:
    """The names of what may stand for a file of weights: the file itself, the index of its shards, and the shards."""
    stem, suffix = (re.escape(part) for part in (Path(name).stem, Path(name).suffix))
    return re.compile(rf"{stem}(-\d{{5}}-of-\d{{5}})?{suffix}|{stem}{suffix}{re.escape(INDEX_SUFFIX)}")


def family(path: Path) -> list[Path]:
    """What stands for `path` in its directory."""
    names = family_of(path.name)
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    return [p for p in beside if names.fullmatch(p.name)]

"""Checkpoints in several files under an index, as transformers splits large ones, read as one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...errors import CheckpointError, CheckpointNotFoundError
from ...files import SAVE_ID, read_json, weight_map
from ..tensor_info import TensorInfo, WeightFile, check_count

_AGAIN = "Fetch or save the index and all shards again."


class ShardedFile:
    """The shards that an index names, as one reader; `shards` are their paths, `first` is the first of them, opened.

    An index is `{"weight_map": {weight: file}}`. The files lie beside it: a name with a path in it is refused.

    Raises:
        CheckpointNotFoundError: when a shard is not there.
        CheckpointError: when index and shards do not say the same, or a shard is damaged.
    """

    def __init__(self, path: Path, open_shard: Callable[[Path], WeightFile]) -> None:
        self.path = path
        places = weight_map(path)
        check_count(path, places)
        self.shards = [path.parent / name for name in sorted(set(places.values()))]
        if gone := [shard.name for shard in self.shards if not shard.is_file()]:
            raise CheckpointNotFoundError(
                f"{path}: {len(gone)} of {len(self.shards)} shards are not there: {', '.join(gone[:4])}. Fetch them; "
                "nothing was loaded."
            )
        self._files: dict[str, WeightFile] = {}
        self.stored: dict[str, TensorInfo] = {}
        opened = [open_shard(shard) for shard in self.shards]
        _check_save(path, opened)
        self.first = opened[0]
        for shard, file in zip(self.shards, opened, strict=True):
            for name, found in file.stored.items():
                if name in self.stored:
                    two = f"{self._files[name].path} and {shard}"
                    raise CheckpointError(f"{path}: {name} stands in two shards, {two}. {_AGAIN}")
                self._files[name], self.stored[name] = file, found
        _check_index(path, places, {name: file.path.name for name, file in self._files.items()})

    def read(self, name: str) -> np.ndarray:
        return self._files[name].read(name)


def _check_save(path: Path, shards: Sequence[WeightFile]) -> None:
    """Index and shards that say of which save they are must be of one; those of other writers say nothing."""
    metadata = read_json(path).get("metadata")
    wanted = metadata.get(SAVE_ID) if isinstance(metadata, dict) else None
    if wanted is None:
        return
    if others := [shard.path.name for shard in shards if getattr(shard, "save_id", None) != wanted]:
        raise CheckpointError(
            f"{path}: wanted shards of one save ({wanted}), got {len(others)} of another: {', '.join(others[:4])}. "
            f"{_AGAIN}"
        )


def _check_index(path: Path, indexed: dict[str, str], found: dict[str, str]) -> None:
    """TensorFlow's index has names with their root and `:0`, its shards without: there only the count can tell."""
    if path.name.endswith(".h5.index.json"):
        if len(indexed) != len(found):
            counts = f"the index names {len(indexed)} weights, the shards hold {len(found)}"
            raise CheckpointError(f"{path}: {counts}. {_AGAIN}")
        return
    for name, file in indexed.items():
        if found.get(name) != file:
            where = f"it is in {found[name]}" if name in found else "it is in no shard"
            raise CheckpointError(f"{path}: {name} is said to be in {file}, but {where}. {_AGAIN}")
    if more := sorted(found.keys() - indexed.keys()):
        raise CheckpointError(
            f"{path}: the shards hold {len(more)} weights the index does not name: {', '.join(more[:4])}. {_AGAIN}"
        )

"""Weights that Keras saved in several files (`save_weights(..., max_shard_size=...)`), read as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CheckpointError, CheckpointNotFoundError
from ...files import read_json
from ..tensor_info import TensorInfo
from .hdf5 import H5File

_AGAIN = "Fetch or save it again."


class KerasShards:
    """The datasets of all the files that a `.weights.json` names; they lie beside it.

    Raises:
        CheckpointNotFoundError: when the index or one of its files is not there.
        CheckpointError: when one is damaged, lies elsewhere, or holds what another holds too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored: dict[str, TensorInfo] = {}
        self.shards: list[Path] = []
        self._files: dict[str, H5File] = {}
        for name in _shard_names(path, read_json(path).get("weight_map")):
            shard = path.with_name(name)
            if not shard.is_file():
                raise CheckpointNotFoundError(f"{path}: its file {name} is not beside it. {_AGAIN}")
            self.shards.append(shard)
            file = H5File(shard)
            for dataset, found in file.stored.items():
                if dataset in self._files:
                    two = f"{self._files[dataset].path.name} and {name}"
                    raise CheckpointError(f"{path}: {two} both hold {dataset}. {_AGAIN}")
                self._files[dataset], self.stored[dataset] = file, found

    def read(self, name: str) -> np.ndarray:
        return self._files[name].read(name)


def _shard_names(path: Path, weight_map: Any) -> list[str]:
    """The files of an index, each once. A group that begins in one file and ends in another names both."""
    names: dict[str, None] = {}
    for entry in weight_map.values() if isinstance(weight_map, dict) else [None]:
        for name in entry if isinstance(entry, list) else [entry]:
            if not isinstance(name, str):
                raise CheckpointError(
                    f"{path}: wanted a weight_map of groups to file names, as Keras writes it, got {entry!r:.80}. "
                    f"{_AGAIN}"
                )
            if "/" in name or "\\" in name or not name.endswith(".weights.h5"):
                raise CheckpointError(
                    f"{path}: wanted the names of .weights.h5 files beside it, got {name[:80]!r}. {_AGAIN}"
                )
            names[name] = None
    return list(names)

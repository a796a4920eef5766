"""Weights that transformers' TensorFlow models saved, read under their PyTorch names and orientation.

Two files hold them: `tf_model.h5`, and a `model.safetensors` whose metadata says "tf". In both a weight is
`<root>/<path>`, where the root differs from file to file and is sometimes left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BackendMissingError, CheckpointError
from .stored import Stored, WeightFile
from .weights import Weight

# Where a path begins, whatever stands before it. Releases before 4.0 wrote mlm___cls for predictions___cls.
_STARTS = ("mobilebert", "predictions___cls", "mlm___cls", "seq_relationship___cls", "classifier", "qa_outputs")
_INSIDE = ("embeddings", "encoder", "pooler")  # of a bare model that was saved without its own name


class H5File:
    """The datasets of an HDF5 file by their path, wherever groups nest. Links out of the file are not followed.

    Raises:
        CheckpointError: when it is no HDF5 file, or a damaged one.
        BackendMissingError: without h5py, which Keras brings along.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as e:
            raise BackendMissingError(f"{path}: reading HDF5 needs h5py: pip install h5py.") from e
        self.path = path
        self.stored: dict[str, Stored] = {}
        try:
            self._file = h5py.File(path, "r")
            self._collect(self._file, h5py)
        except (OSError, RuntimeError, KeyError) as e:
            raise CheckpointError(f"{path}: not a whole HDF5 file ({e}). Fetch or save it again.") from None

    def _collect(self, group: Any, h5py: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise CheckpointError(f"{self.path}: {group.name}/{name} is a link out of its place; not followed.")
            item = group[name]
            if isinstance(item, h5py.Group):
                self._collect(item, h5py)
            else:
                self.stored[item.name.lstrip("/")] = Stored(tuple(item.shape), str(item.dtype))

    def read(self, name: str) -> np.ndarray:
        return self._file[name][()]


class TensorFlowNames:
    """A file of TensorFlow names seen under PyTorch's. Names that are none of MobileBERT's are kept as they are."""

    def __init__(self, file: WeightFile, weights: Iterable[Weight]) -> None:
        known = {weight.h5: weight for weight in weights if weight.h5 is not None}
        self.path = file.path
        self._file = file
        self._places: dict[str, tuple[str, bool]] = {}
        self.stored: dict[str, Stored] = {}
        for name, found in file.stored.items():
            weight = known.get(_below_root(name))
            if weight is None:
                self._places[name], self.stored[name] = (name, False), found
                continue
            transposed = "h5" in weight.transposed
            if weight.full_name in self._places:
                raise CheckpointError(f"{name} and {self._places[weight.full_name][0]} are both {weight.full_name}.")
            self._places[weight.full_name] = (name, transposed)
            self.stored[weight.full_name] = Stored(found.shape[::-1] if transposed else found.shape, found.dtype)

    def read(self, name: str) -> np.ndarray:
        place, transposed = self._places[name]
        array = self._file.read(place)
        return array.T if transposed else array


def _below_root(name: str) -> str:
    """`<root>/mobilebert/...:0` without root and `:0`."""
    parts = name.removesuffix(":0").split("/")
    if parts[0] in _INSIDE:
        parts.insert(0, "mobilebert")
    # A group of the file is named like the layer inside, so that the last start is the one that counts.
    starts = [i for i, part in enumerate(parts) if part in _STARTS]
    path = parts[starts[-1] :] if starts else parts
    return "/".join("predictions___cls" if part == "mlm___cls" else part for part in path)

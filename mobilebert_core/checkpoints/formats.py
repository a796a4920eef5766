"""From a path to a checkpoint: which file it is, how it is laid out, whose names it has, which model it describes.

What a file is say its first bytes; its name only says which file of a directory is meant. A layout is a container
(how arrays lie in a file) and a naming (what they are called there).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration.config import MobileBertConfig
from ..errors import CheckpointError, CheckpointNotFoundError
from ..files import INDEX_SUFFIX, WEIGHT_FILES
from ..weights import Weight, every_weight
from .configurations import configuration, google_config_of, model_garden_config_of, read_google_json
from .containers.hdf5 import H5File
from .containers.keras_archive import CONFIG_MEMBER, WEIGHTS_MEMBER, KerasArchive
from .containers.keras_shards import KerasShards
from .containers.pickle.pickle_file import PickleFile
from .containers.safetensors import SafetensorsFile
from .containers.sharded import ShardedFile
from .containers.tensor_bundle.bundle_file import SUFFIX as BUNDLE_SUFFIX
from .containers.tensor_bundle.bundle_file import TensorBundle
from .containers.tensor_bundle.object_graph import OBJECT_GRAPH
from .names.google import google_names
from .names.keras import keras_names
from .names.model_garden import model_garden_names
from .names.tensorflow import tensorflow_names
from .names.torch import torch_names
from .tensor_info import MappedCheckpoint, WeightFile

_ZIP_END = 1 << 16  # bytes in which the directory of a small archive lies
_PLAUSIBLE = 1000  # feed-forward networks in all blocks; the released model has 96


@dataclass(frozen=True)
class Naming:
    """Whose names a file has, and how it is seen under PyTorch's."""

    name: str
    description: str
    names: Callable[[Any, tuple[Weight, ...], MobileBertConfig], MappedCheckpoint]


NAMINGS = {
    naming.name: naming
    for naming in (
        Naming("pytorch", "PyTorch's names", lambda file, weights, _: torch_names(file, weights)),
        Naming("tensorflow", "names of transformers' TensorFlow models", tensorflow_names),
        Naming("keras", "names of Keras 3", lambda file, weights, _: keras_names(file, weights)),
        Naming("google", "names of Google's TF1 code", lambda file, weights, _: google_names(file, weights)),
        Naming("model-garden", "objects of the TensorFlow Model Garden", model_garden_names),
    )
}


@dataclass(frozen=True)
class Container:
    """How arrays lie in a file; `naming` tells from an opened one whose names it has."""

    description: str
    opens: Callable[[Path], WeightFile]
    naming: Callable[[Any], str]


def _naming_of_hdf5(file: H5File) -> str:
    """Keras 3 numbers the variables of a layer: .../vars/0."""
    return "keras" if any(name.split("/")[-2:-1] == ["vars"] for name in file.stored) else "tensorflow"


CONTAINERS = {
    "safetensors": Container(
        "safetensors",
        SafetensorsFile,
        lambda file: "tensorflow" if file.metadata.get("format") == "tf" else "pytorch",
    ),
    "pickle": Container("pickled state dict", PickleFile, lambda file: "pytorch"),
    "hdf5": Container("HDF5", H5File, _naming_of_hdf5),
    "keras": Container("Keras archive", KerasArchive, lambda file: "keras"),
    "keras-shards": Container("shards of Keras", KerasShards, lambda file: "keras"),
    "bundle": Container(
        "TensorFlow checkpoint",
        TensorBundle,
        lambda file: "model-garden" if OBJECT_GRAPH in file.strings else "google",
    ),
}
# The ending of a file whose first bytes say nothing, because it is damaged: its reader words the error.
_ENDINGS = {
    ".safetensors": "safetensors",
    ".bin": "pickle",
    ".pt": "pickle",
    ".pth": "pickle",
    ".h5": "hdf5",
    ".keras": "keras",
}
# What else may be the one checkpoint of a directory.
_OTHER_FILES = (
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.keras", "*.weights.json", "*.h5", "*.index",
    "variables/variables.index",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: `file` has the names of the file, `weights` shows it under PyTorch's.

    Attributes:
        path: the file with the weights, the index of its shards, or the prefix of a TensorFlow checkpoint.
        container: key of CONTAINERS.
        naming: whose names the file has.
        parts: every file that holds weights.
    """

    path: Path
    container: str
    naming: Naming
    file: WeightFile
    parts: tuple[Path, ...]

    @property
    def description(self) -> str:
        shards = f" in {len(self.parts)} shards" if self.path.name.endswith(INDEX_SUFFIX) else ""
        return f"{CONTAINERS[self.container].description}{shards}, {self.naming.description}"

    @property
    def folder(self) -> Path:
        """Where its configuration and tokenizer are: beside it; of a SavedModel, above its `variables`."""
        above = self.path.parent.parent
        return above if (above / "saved_model.pb").is_file() else self.path.parent

    def config(self, passed: MobileBertConfig | str | Path | None = None, **overrides: Any) -> MobileBertConfig:
        """The model it describes: as `passed` (a configuration, its file or directory), or as found beside it.

        Raises:
            CheckpointNotFoundError: when no configuration is found.
            ConfigError: when it is not that of a MobileBERT, or an override is none of its fields.
        """
        if passed is not None:
            if self.naming.name == "google" and not isinstance(passed, MobileBertConfig) and Path(passed).is_file():
                passed = read_google_json(Path(passed))
            return configuration(passed, **overrides)
        folder = self.folder
        if isinstance(self.file, KerasArchive):
            return configuration(self.file.config, **{"architectures": [self.file.head.class_name], **overrides})
        if self.naming.name == "google":
            return google_config_of(self.file, folder, **overrides)
        if self.naming.name == "model-garden":
            return model_garden_config_of(self.file, folder, **overrides)
        return configuration(folder, **overrides)

    def weights(self, config: MobileBertConfig) -> MappedCheckpoint:
        """The file under PyTorch's full names and orientation.

        Raises:
            CheckpointError: when the configuration cannot be that of the file, or two names are one weight.
        """
        networks = config.num_hidden_layers * config.num_feedforward_networks
        if networks > max(len(self.file.stored), _PLAUSIBLE):  # before a table of that size is made
            raise CheckpointError(
                f"{self.path}: holds {len(self.file.stored):,} arrays, but the configuration has "
                f"{config.num_hidden_layers:,} layers of {config.num_feedforward_networks:,} feed-forward networks. "
                "One of the two belongs to another model."
            )
        return self.naming.names(self.file, every_weight(config), config)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a directory, a file of weights, the index of a sharded one, or the prefix of a TensorFlow checkpoint.

    Of a directory the first of `WEIGHT_FILES` that is there is taken, else its one other checkpoint.

    Raises:
        CheckpointNotFoundError: when there is none, or several and none of the usual names.
        CheckpointError: when it is damaged or no format of MobileBERT.
    """
    try:
        return _opened(Path(path))
    except OSError as e:
        if isinstance(e, CheckpointError):
            raise
        raise CheckpointNotFoundError(f"{path!s:.200}: cannot be read ({e.strerror}).") from None


def _opened(place: Path) -> Checkpoint:
    place = _weights_of(place) if place.is_dir() else place
    if place.name.endswith(INDEX_SUFFIX):
        file: Any = ShardedFile(place, lambda shard: CONTAINERS[_container_of(shard)].opens(shard))
        container, parts = _container_of(file.shards[0]), tuple(file.shards)
        naming = CONTAINERS[container].naming(file.first)
    else:
        container = _container_of(place)
        file = CONTAINERS[container].opens(place)
        parts = (file.path, *getattr(file, "shards", ())) if container in ("bundle", "keras-shards") else (place,)
        naming = CONTAINERS[container].naming(file)
    return Checkpoint(place, container, NAMINGS[naming], file, parts)


def _weights_of(directory: Path) -> Path:
    for name in WEIGHT_FILES:
        if (directory / name).is_file():
            return directory / name
    found: list[Path] = []
    for pattern in _OTHER_FILES:
        if pattern != "*.h5" or not any(path.name.endswith(".json") for path in found):  # which are its shards
            found += sorted(directory.glob(pattern))
    if len(found) > 1:
        found = [path for path in found if path == _latest(directory)] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointNotFoundError(
            f"{directory}: wanted one checkpoint, got {', '.join(p.name for p in found[:6])}. Name one of them."
        )
    beside = ", ".join(sorted(p.name for p in directory.iterdir())[:8])
    raise CheckpointNotFoundError(f"{directory}: weights not found; the directory holds {beside or 'nothing'}.")


def _latest(directory: Path) -> Path | None:
    """The index of the TensorFlow checkpoint that a directory of several says is its latest."""
    try:
        text = (directory / "checkpoint").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    named = [line.partition(":")[2].strip().strip('"') for line in text.splitlines() if line.startswith("model_check")]
    return directory / f"{Path(named[0]).name}.index" if named else None


def _container_of(path: Path) -> str:
    """The key of CONTAINERS, from the first bytes of a file, or from its ending where they say nothing."""
    if BUNDLE_SUFFIX.search(path.name) or _index_of(path).is_file():
        return "bundle"
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else None
        seen = f"; {path.parent} holds {', '.join(beside) or 'nothing'}" if beside is not None else ""
        raise CheckpointNotFoundError(f"{path}: no such file or directory{seen}.")
    with path.open("rb") as f:
        start = f.read(16)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if start.startswith(b"PK"):
        return "keras" if _is_keras(path) else "pickle"
    if path.name.endswith(".weights.json"):
        return "keras-shards"
    if start[8:9] == b"{":  # after the length of its header
        return "safetensors"
    if start[:1] == b"\x80":
        return "pickle"
    container = next((name for ending, name in _ENDINGS.items() if path.name.endswith(ending)), None)
    if container is None:
        raise CheckpointError(
            f"{path}: wanted a checkpoint ({', '.join(c.description for c in CONTAINERS.values())}), got a file that "
            f"starts with {start!r}."
        )
    return container


def _is_keras(path: Path) -> bool:
    """Of the two kinds of zip archives, Keras's has these members, whose names end the file; damaged, by its ending."""
    with path.open("rb") as f:
        f.seek(-min(path.stat().st_size, _ZIP_END), os.SEEK_END)
        end = f.read()
    named = any(member.encode() in end for member in (CONFIG_MEMBER, WEIGHTS_MEMBER))
    return named or path.name.endswith(".keras")


def _index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")

"""The list of checkpoint formats: what each is, how it is known, read and configured, and how it is written.

A format is a container (how arrays lie in a file) with a naming (what they are called there). `opening.py` opens a path
by this list, and the commands, the conversion and the tests read it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration.config import MobileBertConfig
from ..errors import CheckpointError
from ..files import PICKLE_FILE, TENSORFLOW_FILE, WEIGHTS_FILE
from ..weights import Weight
from .configurations import archive_config, folder_config, google_config_of, model_garden_config_of
from .containers.hdf5 import H5File
from .containers.keras_archive import KerasArchive, is_keras_archive
from .containers.keras_shards import KerasShards
from .containers.pickle.pickle_file import PickleFile
from .containers.safetensors import SafetensorsFile
from .containers.tensor_bundle.bundle_file import SUFFIX as BUNDLE_SUFFIX
from .containers.tensor_bundle.bundle_file import TensorBundle
from .containers.tensor_bundle.object_graph import OBJECT_GRAPH
from .names.google import google_names
from .names.keras import keras_names
from .names.model_garden import model_garden_names
from .names.tensorflow import tensorflow_names
from .names.torch import torch_names
from .targets import (
    ModelToWrite,
    save_google,
    save_keras_archive,
    save_keras_weights,
    save_pickle,
    save_safetensors,
    save_tensorflow,
)
from .tensor_info import MappedCheckpoint, WeightFile

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # of an archive with files, and of an empty one


@dataclass(frozen=True)
class Container:
    """How arrays lie in a file.

    Attributes:
        opens: path -> the opened file.
        recognizes: path and its first 16 bytes -> whether it is one; the bytes are empty where there is no such file.
        endings: of its files. They say which file of a directory is meant, and what a file was whose bytes are damaged.
        places: where else it lies in a directory.
    """

    description: str
    opens: Callable[[Path], WeightFile]
    recognizes: Callable[[Path, bytes], bool]
    endings: tuple[str, ...]
    places: tuple[str, ...] = ()


BUNDLE = Container(
    "TensorFlow checkpoint",
    TensorBundle,
    lambda path, start: bool(BUNDLE_SUFFIX.search(path.name)) or path.with_name(f"{path.name}.index").is_file(),
    (".index",),
    ("variables/variables.index",),  # of a SavedModel
)
SAFETENSORS = Container(
    "safetensors",
    SafetensorsFile,
    lambda path, start: start[8:9] == b"{",  # after the length of the header
    (".safetensors",),
)
PICKLE = Container(
    "pickled state dict",
    PickleFile,
    lambda path, start: start[:1] == b"\x80" or (start.startswith(_ZIP) and not is_keras_archive(path)),
    (".bin", ".pt", ".pth"),
)
HDF5 = Container("HDF5", H5File, lambda path, start: start.startswith(b"\x89HDF\r\n\x1a\n"), (".h5",))
KERAS_ARCHIVE = Container(
    "Keras archive", KerasArchive, lambda path, start: start.startswith(_ZIP) and is_keras_archive(path), (".keras",)
)
KERAS_SHARDS = Container(
    "shards of Keras",
    KerasShards,
    lambda path, start: bool(start) and path.name.endswith(".weights.json"),
    (".weights.json",),
)


@dataclass(frozen=True)
class Naming:
    """Whose names a file has; `names` shows the file under PyTorch's."""

    description: str
    names: Callable[[Any, tuple[Weight, ...], MobileBertConfig], MappedCheckpoint]
    of_weight: Callable[[Weight], str | None]  # the name of a weight there


PYTORCH = Naming("PyTorch's names", lambda file, weights, _: torch_names(file, weights), lambda weight: weight.name)
TENSORFLOW = Naming("names of transformers' TensorFlow models", tensorflow_names, lambda weight: weight.h5)
KERAS = Naming("names of Keras 3", lambda file, weights, _: keras_names(file, weights), lambda weight: weight.keras)
GOOGLE = Naming(
    "names of Google's TF1 code", lambda file, weights, _: google_names(file, weights), lambda weight: weight.tf1
)
MODEL_GARDEN = Naming("objects of the TensorFlow Model Garden", model_garden_names, lambda weight: weight.tf2)


@dataclass(frozen=True)
class Output:
    """How a format is written.

    Attributes:
        description: of what is written, for the help of `--to`.
        ending: of the path; "" stands for a directory, into which `file` is written.
        write: path, model and largest size of a file -> nothing; the configuration is written too.
    """

    description: str
    write: Callable[[Path, ModelToWrite, int | str | None], None]
    ending: str = ""
    file: str = ""


@dataclass(frozen=True)
class Format:
    """One format of checkpoints.

    Attributes:
        name: as `--to` and records call it.
        holds: an opened file of the container -> whether it has the names of this format.
        config: the opened file, the config.json of its directory (read once) and fields that override it -> the
            configuration of the model.
        output: how it is written; None where it is only read.
    """

    name: str
    container: Container
    naming: Naming
    holds: Callable[[Any], bool]
    config: Callable[..., MobileBertConfig]
    output: Output | None = None

    @property
    def description(self) -> str:
        return f"{self.container.description}, {self.naming.description}"

    @property
    def written(self) -> Output:
        """How it is written. Raises CheckpointError for a format that is only read."""
        if self.output is None:
            raise CheckpointError(f"{self.name}: this format is read, not written; see OUTPUT_FORMATS.")
        return self.output


def _has_keras_variables(file: H5File) -> bool:
    """Keras 3 numbers the variables of a layer: .../vars/0."""
    return any(name.split("/")[-2:-1] == ["vars"] for name in file.stored)


# In the order in which they are tried: of a container, the first format that holds is meant.
FORMATS: tuple[Format, ...] = (
    Format(
        "model-garden", BUNDLE, MODEL_GARDEN, lambda file: OBJECT_GRAPH in file.strings, model_garden_config_of,
    ),
    Format(
        "google", BUNDLE, GOOGLE, lambda file: True, google_config_of,
        Output("a TF1 checkpoint (.ckpt.index, .ckpt.data-...) and its JSON, for Google's code", save_google, ".ckpt"),
    ),
    Format(
        "tensorflow-safetensors", SAFETENSORS, TENSORFLOW, lambda file: file.metadata.get("format") == "tf",
        folder_config,
    ),
    Format(
        "pytorch", SAFETENSORS, PYTORCH, lambda file: True, folder_config,
        Output("config.json and model.safetensors, for both backends and transformers", save_safetensors,
               file=WEIGHTS_FILE),
    ),
    Format(
        "pytorch-bin", PICKLE, PYTORCH, lambda file: True, folder_config,
        Output("config.json and pytorch_model.bin", save_pickle, file=PICKLE_FILE),
    ),
    Format(
        "keras", KERAS_ARCHIVE, KERAS, lambda file: True, archive_config,
        Output("one .keras file, for keras.models.load_model", save_keras_archive, ".keras"),
    ),
    Format("keras-shards", KERAS_SHARDS, KERAS, lambda file: True, folder_config),
    Format(
        "keras-weights", HDF5, KERAS, _has_keras_variables, folder_config,
        Output("a .weights.h5 file, for load_weights, and config.json", save_keras_weights, ".weights.h5"),
    ),
    Format(
        "tensorflow", HDF5, TENSORFLOW, lambda file: True, folder_config,
        Output("config.json and tf_model.h5, for the TensorFlow models of transformers", save_tensorflow,
               file=TENSORFLOW_FILE),
    ),
)  # fmt: skip
CONTAINERS: tuple[Container, ...] = tuple(dict.fromkeys(each.container for each in FORMATS))
ENDINGS: tuple[str, ...] = tuple(ending for each in CONTAINERS for ending in each.endings)
_SHOWN = ("pytorch", "pytorch-bin", "tensorflow", "keras", "keras-weights", "google")  # first, in this order
OUTPUT_FORMATS: dict[str, Format] = {
    each.name: each
    for each in sorted(FORMATS, key=lambda each: _SHOWN.index(each.name) if each.name in _SHOWN else len(_SHOWN))
    if each.output is not None
}


def output_format_for(path: Path, name: str | None) -> Format:
    """The format to write: by its name, or by the ending of the path, where none means a PyTorch directory.

    Raises:
        CheckpointError: for an unknown name, or a path that does not end as the format does.
    """
    endings = {each.written.ending: each for each in OUTPUT_FORMATS.values() if each.written.ending}
    by_path = next((each for ending, each in endings.items() if path.name.endswith(ending)), None)
    if name is not None and name not in OUTPUT_FORMATS:
        raise CheckpointError(f"No format {name!r} to write; there are {', '.join(OUTPUT_FORMATS)}.")
    if name is None and by_path is None and path.name.endswith((*ENDINGS, ".json")):
        directories = ", ".join(each.name for each in OUTPUT_FORMATS.values() if not each.written.ending)
        raise CheckpointError(
            f"{path}: no format is written to such a file. {directories} "
            f"are written into a directory (see --to), files end in {', '.join(endings)}."
        )
    if name is None:
        return by_path or OUTPUT_FORMATS["pytorch"]
    chosen = OUTPUT_FORMATS[name]
    ending = chosen.written.ending
    if ending and not path.name.endswith(ending):
        raise CheckpointError(f"{path}: {name} is a file that ends in {ending}.")
    if not ending and by_path is not None:
        raise CheckpointError(f"{path}: {name} is written into a directory, this is the name of a file.")
    return chosen

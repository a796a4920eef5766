"""`tf_model.h5` as transformers' TensorFlow models write and read it, from weights under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CheckpointError, ConfigError
from ...files import NO_ID, SAVE_ID, TENSORFLOW_FILE
from ...heads import Head
from ...weights import Weight
from ..names.keras import layer_name
from .hdf5 import import_h5py, mark_hdf5, writing_hdf5
from .shards import write_files

_KERAS_VERSION = "2.15.0"  # the last Keras whose layout this is; readers look at the major number

# Keras's own `load_weights` goes by order, and there a layer's own variables precede those of its parts.
_OWN_VARIABLES = (
    "mobilebert/embeddings/word_embeddings/weight",
    "mobilebert/embeddings/token_type_embeddings/embeddings",
    "mobilebert/embeddings/position_embeddings/embeddings",
    "predictions___cls/predictions/bias",
    "predictions___cls/predictions/dense/weight",
    "predictions___cls/predictions/decoder/weight",
)

# Bytes of one attribute: the 64 KiB of an HDF5 object header, less what Keras leaves for the rest.
_HEADER_LIMIT = 64512


def write_tensorflow(
    directory: Path,
    head: Head,
    weights: Iterable[Weight],
    read: Callable[[str], np.ndarray],
    *,
    dtype: str = "float32",
    max_shard_size: int | str | None = None,
) -> None:
    """Writes the weights of a model to tf_model.h5, or to shards of it with an index when they do not fit.

    The decoder is a variable of its own in TensorFlow: a tied one is written as a copy of the word embeddings.
    transformers prefers a model.safetensors in the same directory.

    Args:
        directory: made if it is not there. config.json is not written.
        head: that of the model; the variables are named after its class.
        weights: the table of the model, see `weight_table`. TensorFlow's models of transformers know no pruned heads.
        read: gives an array by its full name in PyTorch, in PyTorch's orientation. Called once for each written
            array, and for the word embeddings once more when the decoder is tied.
        dtype: stored, one that HDF5 has.
        max_shard_size: bytes, or text such as "5GB"; None means one file.

    Raises:
        BackendMissingError: without h5py, which Keras brings along.
        CheckpointError: when an array has another shape than the table says.
        ConfigError: for a dtype or a size that is none.
    """
    import_h5py(directory / TENSORFLOW_FILE)
    if dtype not in ("float64", "float32", "float16"):
        raise ConfigError(
            f"{directory / TENSORFLOW_FILE}: HDF5 stores float64, float32 or float16, got dtype {dtype!r}. "
            "bfloat16 is exact in float32."
        )
    root = layer_name(head)
    variables = {f"{weight.h5}:0": weight for weight in _in_order(weights)}
    sizes = {f"{root}/{name}": w.size * np.dtype(dtype).itemsize for name, w in variables.items()}

    def put(group: Any, place: str, weight: Weight) -> None:
        group.create_dataset(place, data=_array(weight, read).astype(dtype, copy=False))

    def save(path: Path, names: Sequence[str]) -> None:
        written = [name.removeprefix(f"{root}/") for name in names]
        with writing_hdf5(path) as file:
            if len(written) < len(variables):  # a shard: variables by their path, without groups of layers
                for name in written:
                    put(file, name, variables[name])
                _set_names(file, "layer_names", written)
                file.attrs[SAVE_ID] = np.bytes_(NO_ID)
                return
            layers = list(dict.fromkeys(name.split("/")[0] for name in written))
            _set_names(file, "layer_names", layers)
            file.attrs["backend"] = "tensorflow"
            file.attrs["keras_version"] = _KERAS_VERSION
            for layer in layers:
                inside = [name for name in written if name.split("/")[0] == layer]
                group = file.create_group(layer)
                _set_names(group, "weight_names", [f"{root}/{name}" for name in inside])
                for name in inside:
                    put(group, f"{root}/{name}", variables[name])
            _set_names(file.create_group("top_level_model_weights"), "weight_names", [])

    write_files(directory / TENSORFLOW_FILE, sizes, save, mark_hdf5, max_shard_size)


def _in_order(weights: Iterable[Weight]) -> list[Weight]:
    """Those that TensorFlow has, layer by layer in the order of Keras."""
    stored = [(weight, weight.h5) for weight in weights if weight.h5 is not None]
    layers = list(dict.fromkeys(h5.split("/")[0] for _, h5 in stored))
    ranks = {h5: rank for rank, h5 in enumerate(_OWN_VARIABLES)}
    stored.sort(key=lambda item: (layers.index(item[1].split("/")[0]), ranks.get(item[1], len(ranks))))
    return [weight for weight, _ in stored]


def _array(weight: Weight, read: Callable[[str], np.ndarray]) -> np.ndarray:
    """A weight as TensorFlow stores it."""
    name = weight.tied_to or weight.full_name
    array = read(name)
    if array.shape != weight.shape:
        raise CheckpointError(f"{name}: wanted {weight.shape}, got {array.shape}; nothing was written.")
    return array.T if "h5" in weight.transposed else array


def _set_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    """A list of names as an attribute, or as several with numbers after their name, as Keras reads it."""
    encoded = np.array([name.encode() for name in names], dtype=np.bytes_)
    fitting = max(1, _HEADER_LIMIT // encoded.itemsize)
    if len(encoded) <= fitting:
        group.attrs[attribute] = encoded
        return
    for part, first in enumerate(range(0, len(encoded), fitting)):
        group.attrs[f"{attribute}{part}"] = encoded[first : first + fitting]

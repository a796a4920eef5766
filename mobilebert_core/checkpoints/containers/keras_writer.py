"""Writes files of Keras 3 without Keras: `.weights.h5`, which `load_weights` reads, and `.keras`, for `load_model`.

What is written equals what Keras writes for a model that was built in a new process and not compiled: the same
groups, datasets, attributes and members. Arrays are fetched and written one at a time, the file appears whole or
not at all.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...configuration.config import MobileBertConfig
from ...configuration.fields import DTYPES
from ...errors import CheckpointError, ConfigError
from ...files import replacing
from ...heads import Head, check_head
from ...weights import weight_table
from ..names.keras import PACKAGE, keras_class, keras_layers, keras_place, layer_name
from .hdf5 import writing_hdf5
from .keras_archive import ARCHIVE_SUFFIX, CONFIG_MEMBER, METADATA_MEMBER, WEIGHTS_MEMBER, WEIGHTS_SUFFIX

KERAS_VERSION = "3.15.1"  # whose layout this is; Keras itself does not read it back
POLICIES = (*DTYPES, "mixed_float16", "mixed_bfloat16")

ReadArray = Callable[[str], np.ndarray]


def write_keras_weights(
    path: str | Path, config: MobileBertConfig, head: Head, read: ReadArray, pooler: bool | None = None
) -> None:
    """Writes what `TFMobileBert...(config).save_weights(path)` would.

    Args:
        path: ends in .weights.h5, by which Keras knows it.
        read: gives an array in PyTorch's orientation by its PyTorch full name; its dtype is kept.
        pooler: overrides whether there is a pooler (`add_pooling_layer`).

    Raises:
        CheckpointError: for another ending, or an array of a wrong shape.
        ConfigError: when the configuration cannot carry the head.
        BackendMissingError: without h5py.
    """
    path = _ending_in(WEIGHTS_SUFFIX, path)
    with replacing(path) as temporary:
        _write_hdf5(temporary, path, config, head, read, pooler)


def write_keras_archive(
    path: str | Path,
    config: MobileBertConfig,
    head: Head,
    read: ReadArray,
    pooler: bool | None = None,
    policy: str = "float32",
) -> None:
    """Writes what `TFMobileBert...(config, dtype=policy).save(path)` would; `path` ends in .keras.

    Arguments and errors are those of `write_keras_weights`; an unknown policy is a ConfigError. The weights are
    first written into a file of their own, which takes their size twice for a moment.
    """
    path = _ending_in(ARCHIVE_SUFFIX, path)
    if policy not in POLICIES:
        raise ConfigError(f"{path}: policy must be one of {', '.join(POLICIES)}, got {policy!r}.")
    metadata = {"keras_version": KERAS_VERSION, "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    with replacing(path) as temporary, TemporaryDirectory(dir=temporary.parent) as beside:
        weights = Path(beside) / WEIGHTS_MEMBER
        _write_hdf5(weights, path, config, head, read, pooler)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(METADATA_MEMBER, json.dumps(metadata))
            archive.writestr(CONFIG_MEMBER, json.dumps(_described(config, head, pooler, policy)))
            archive.write(weights, WEIGHTS_MEMBER)


def _write_hdf5(
    temporary: Path, path: Path, config: MobileBertConfig, head: Head, read: ReadArray, pooler: bool | None
) -> None:
    check_head(config, head)
    with writing_hdf5(temporary) as file:
        for group, name in keras_layers(config, head, pooler).items():
            file.create_group(f"{group}/vars").attrs["name"] = name
        for weight in weight_table(config, head, pooler):
            if weight.keras is None:
                continue
            array = read(weight.full_name)
            if array.shape != weight.shape:
                raise CheckpointError(f"{path}: {weight.full_name} has shape {array.shape}, wanted {weight.shape}.")
            file[keras_place(weight)] = array.T if "keras" in weight.transposed else array


def _described(config: MobileBertConfig, head: Head, pooler: bool | None, policy: str) -> dict[str, Any]:
    """What `keras.saving.serialize_keras_object` says of the model."""
    fields = {
        "config": config.to_dict(),
        "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": policy}, "registered_name": None},
        "name": layer_name(head),
        "trainable": True,
    }
    if head.bare:
        fields["add_pooling_layer"] = True if pooler is None else pooler
    name = keras_class(head)
    return {
        "module": "mobilebert_tf.modeling" if head.bare else "mobilebert_tf.heads",
        "class_name": name,
        "config": fields,
        "registered_name": f"{PACKAGE}>{name}",
        "build_config": {"shapes_dict": {}},
        "compile_config": {},
    }


def _ending_in(suffix: str, path: str | Path) -> Path:
    path = Path(path)
    if not path.name.endswith(suffix):
        raise CheckpointError(f"{path}: wanted a name that ends in {suffix}, by which Keras knows such a file.")
    return path

"""A model on its way into a file: one function for each format that is written, and what that format cannot hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import CheckpointError
from ..files import (
    INDEX_SUFFIX,
    PICKLE_FILE,
    PROVENANCE_FILE,
    TENSORFLOW_FILE,
    WEIGHT_FILES,
    WEIGHTS_FILE,
    variant_name,
    write_text,
)
from ..heads import Head
from ..saves import saving
from ..weights import Weight, weight_table
from .containers.keras_writer import write_keras_archive, write_keras_weights
from .containers.pickle.pickle_writer import write_pickle
from .containers.shards import family_of, write_sharded
from .containers.tensor_bundle.bundle_writer import write_bundle, write_checkpoint_state
from .containers.tensorflow_writer import write_tensorflow
from .dtypes import COUNTS, cast
from .names.google import GOOGLE_JSON, google_fields
from .plan import DECODER, DECODER_BIAS, PREDICTIONS_BIAS
from .tensor_info import TensorInfo


@dataclass(frozen=True)
class ModelToWrite:
    """A model on its way into a file.

    Attributes:
        config, head, pooler: as of `weight_table`.
        dtype: of the file: float64, float32, float16 or bfloat16.
        source: gives an array by its full name, in PyTorch's orientation.
        own: arrays that a class of the user's has beside the table, which safetensors alone can hold.
        architecture: the name of the class, where it is none of ours.
        variant: a part of the name of the file.
    """

    config: MobileBertConfig
    head: Head
    dtype: str
    source: Callable[[str], np.ndarray]
    pooler: bool | None = None
    own: Mapping[str, TensorInfo] = field(default_factory=dict)
    architecture: str | None = None
    variant: str | None = None

    @property
    def weights(self) -> tuple[Weight, ...]:
        return weight_table(self.config, self.head, self.pooler)

    def read(self, full_name: str) -> np.ndarray:
        """An array in the file's dtype (bfloat16 as the float32 of its values).

        Raises:
            CheckpointError: when it has another shape than the model, or values beyond the dtype.
        """
        array, shape = self.source(full_name), self._shapes[full_name]
        if array.shape != shape:
            raise CheckpointError(
                f"{full_name}: wanted {shape}, got {array.shape}; nothing was written. Set the configuration that says "
                "so, such as num_labels or vocab_size, or load the model with it."
            )
        return cast(array, self.dtype, full_name)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        own = {name: stored.shape for name, stored in self.own.items()}
        return {weight.full_name: weight.shape for weight in self.weights} | own

    def state_dict(self) -> dict[str, tuple[str, TensorInfo]]:
        """What PyTorch's file holds: name in it -> full name to read by, and shape. Tied weights stand there once."""
        names = {w.name: (w.full_name, TensorInfo(w.shape, self.dtype)) for w in self.weights if w.tied_to is None}
        if not self.config.tie_word_embeddings and DECODER in names:
            # transformers 5 reads this one when untied
            names[DECODER_BIAS] = names[PREDICTIONS_BIAS]
        kinds = {name: stored.dtype if stored.dtype in COUNTS else self.dtype for name, stored in self.own.items()}
        return names | {n: (n, TensorInfo(stored.shape, kinds[n])) for n, stored in self.own.items()}

    def save_config(self, directory: Path) -> None:
        """config.json, which names the class and the dtype."""
        self.config.copy(architectures=[self.architecture or self.head.class_name], dtype=self.dtype).save_pretrained(
            directory
        )


def save_safetensors(directory: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """config.json and model.safetensors, in shards of at most a size if one is passed."""
    if model.variant and max_shard_size is not None:
        raise CheckpointError(f"{directory}: a variant is written in one file; leave max_shard_size out.")
    held = model.state_dict()
    stored = {name: s for name, (_, s) in held.items()}
    name = variant_name(WEIGHTS_FILE, model.variant)
    with saving_weights(directory, WEIGHTS_FILE, model.variant) as stage:
        write_sharded(stage / name, stored, lambda name: model.read(held[name][0]), max_shard_size)
        model.save_config(stage)


def save_pickle(directory: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """config.json and pytorch_model.bin."""
    if max_shard_size is not None:
        raise CheckpointError(f"{directory}: {PICKLE_FILE} is written in one file; leave max_shard_size out.")
    _of_the_table(directory, model)
    arrays = {w.full_name: model.read(w.full_name) for w in model.weights if w.tied_to is None}
    # Tied weights stand there under both names, as transformers wrote them; they are one array.
    by_name = {w.name: arrays[w.tied_to or w.full_name] for w in model.weights}
    with saving_weights(directory, PICKLE_FILE) as stage:
        write_pickle(stage / PICKLE_FILE, by_name, model.dtype)
        model.save_config(stage)


def save_tensorflow(directory: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """config.json and tf_model.h5, in shards if a size is passed."""
    _of_the_table(directory, model)
    for name, meaning in (("pruned_heads", "pruned heads"), ("folding", "folded norms")):
        if value := getattr(model.config, name):
            raise CheckpointError(
                f"{directory}: TensorFlow's models of transformers have no {meaning}, this one has {name} {value!r}. "
                "Write a PyTorch or Keras checkpoint."
            )
    with saving_weights(directory, TENSORFLOW_FILE) as stage:
        write_tensorflow(stage, model.head, model.weights, model.read, dtype=model.dtype, max_shard_size=max_shard_size)
        model.save_config(stage)


def save_keras_weights(path: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """A .weights.h5 file, and config.json beside it."""
    _whole(path, model, max_shard_size)
    with saving(path.parent) as save:
        write_keras_weights(save.stage / path.name, model.config, model.head, model.read, model.pooler)
        model.save_config(save.stage)


def save_keras_archive(path: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """One .keras file."""
    _whole(path, model, max_shard_size)
    write_keras_archive(path, model.config, model.head, model.read, model.pooler, policy=model.dtype)


def save_google(path: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """A TF1 checkpoint, with Google's JSON and config.json beside it."""
    _whole(path, model, max_shard_size)
    if lost := [w.full_name for w in model.weights if w.tf1 is None and w.tied_to is None]:
        raise CheckpointError(
            f"{path}: Google's TF1 code has no place for {', '.join(lost)}; it ties the decoder to its words. "
            "Nothing was written; write a PyTorch, TensorFlow or Keras checkpoint, or one of another head."
        )
    fields = google_fields(model.config)

    def array(weight: Weight) -> np.ndarray:
        found = model.read(weight.full_name)
        return found.T if "tf1" in weight.transposed else found

    stored = sorted((w for w in model.weights if w.tf1 is not None), key=lambda w: str(w.tf1).encode())
    with saving(path.parent) as save:
        prefix = save.stage / path.name
        write_bundle(prefix, ((str(weight.tf1), array(weight)) for weight in stored))
        write_checkpoint_state(prefix)
        write_text(prefix.with_name(GOOGLE_JSON), json.dumps(fields, indent=2) + "\n")
        model.save_config(save.stage)


def _whole(path: Path, model: ModelToWrite, max_shard_size: int | str | None) -> None:
    """Raises CheckpointError for what a format of one file, without bfloat16, cannot do."""
    _of_the_table(path, model)
    if model.dtype == "bfloat16":
        raise CheckpointError(
            f"{path}: this format holds float64, float32 or float16; float32 holds bfloat16 exactly (--dtype float32)."
        )
    if max_shard_size is not None:
        raise CheckpointError(f"{path}: this format is one file; leave max_shard_size out.")


@contextmanager
def saving_weights(directory: Path, file: str, variant: str | None = None) -> Iterator[Path]:
    """The stage of a save of `file`, or of its shards, into a directory.

    An earlier save of the same name goes with it, and one in another format that would be read before it.
    """
    with saving(directory) as save:
        before = () if variant else WEIGHT_FILES[: WEIGHT_FILES.index(file)]
        names = [variant_name(file, variant), *(name for name in before if not name.endswith(INDEX_SUFFIX))]
        save.stale |= {family_of(name) for name in names}
        save.stale.add(re.compile(re.escape(PROVENANCE_FILE)))  # which speaks of other bytes
        yield save.stage


def _of_the_table(path: Path, model: ModelToWrite) -> None:
    """Raises CheckpointError for weights that are none of ours, or a variant, which safetensors alone have."""
    if model.own or model.variant:
        what = f"the class's own {', '.join(list(model.own)[:4])}" if model.own else f"the variant {model.variant!r}"
        raise CheckpointError(f"{path}: this format has no place for {what}. Write safetensors.")

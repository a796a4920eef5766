"""Records checkpoint files of every kind that transformers 4.37.2 and its users write, and what the models compute.

Run from the root of the repository, in an environment with transformers 4.37.2, PyTorch, TensorFlow 2.15 and
numpy < 2:

    python -m tests.golden.record_checkpoint_files

Under checkpoint_files/ each kind has a directory as it was written, and beside it an npz of inputs and outputs:
float64 from PyTorch, float32 from TensorFlow. What transformers can read of its own files it reads here, and must
find every weight, no other, and the same outputs.

Real are all files but three, whose writers are no longer at hand. "bin_gamma_beta" (as of 2018 and 2019) and
"h5_of_transformers_3" are files of 4.37.2 whose weights were renamed, as the older releases named them; "bin_legacy"
(before 2021) is a state dict of 4.37.2 with the buffer of that time, in the pickle format that PyTorch still writes
when it is told to.
TensorFlow counts the models of a process in the names of their weights: each of its files has a process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conversion.parity.deviation import TOLERANCES, relative_deviation
from conversion.parity.sample import random_checkpoint
from mobilebert_core.checkpoints.containers.safetensors import SafetensorsFile, save_weights
from mobilebert_core.heads import HEADS
from tests.golden.record_models import flat
from tests.tiny import tiny_config

FILES = Path(__file__).parent / "checkpoint_files"

# Half of TINY, pairwise different too: HDF5 files are large.
SMALL = {
    "vocab_size": 41,
    "hidden_size": 24,
    "embedding_size": 10,
    "intra_bottleneck_size": 16,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
}
SHARD = "12KB"  # some four shards


@dataclass(frozen=True)
class Kind:
    """One checkpoint: the head of its model, who writes it, and what it changes in the configuration.

    `write` gets a model of PyTorch, or class and start of one of TensorFlow, and a directory. `readable` says
    whether transformers 4.37.2 can load the file. `dtype` is that of the PyTorch model.
    """

    head: str
    write: Callable[..., Any]
    fields: dict[str, Any] = field(default_factory=dict)
    readable: bool = True
    dtype: str = "float32"


# ------------------------------------------------------------------------------------------------ PyTorch


def saved(**options: Any) -> Callable[[Any, Path], None]:
    return lambda model, directory: model.save_pretrained(directory, **options)


def pickled(model: Any, directory: Path, state_dict: dict[str, Any], **options: Any) -> None:
    """What a training script leaves behind: torch.save of a state dict."""
    import torch

    torch.save(state_dict, directory / "pytorch_model.bin", **options)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)


def data_parallel(model: Any, directory: Path) -> None:
    import torch

    pickled(model, directory, torch.nn.DataParallel(model).state_dict())


def legacy(model: Any, directory: Path) -> None:
    """The pickle format before PyTorch 1.6, and the buffer that was stored then."""
    import torch

    positions = torch.arange(model.config.max_position_embeddings)[None]
    state_dict = {"mobilebert.embeddings.position_ids": positions, **model.state_dict()}
    pickled(model, directory, state_dict, _use_new_zipfile_serialization=False)


def gamma_beta(model: Any, directory: Path) -> None:
    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    pickled(model, directory, {old(name): tensor for name, tensor in model.state_dict().items()})


def pruned(model: Any, directory: Path) -> None:
    model.prune_heads({0: [1, 2], 1: [0]})
    model.save_pretrained(directory)


UNTIED = {"tie_word_embeddings": False}
TORCH = {
    "safetensors": Kind("PreTraining", saved()),
    "safetensors_sharded": Kind("PreTraining", saved(max_shard_size=SHARD)),
    "safetensors_untied": Kind("MaskedLM", saved(), UNTIED),
    "safetensors_base": Kind("Model", saved()),
    "safetensors_base_sharded": Kind("Model", saved(max_shard_size=SHARD)),
    "safetensors_pruned": Kind("MultipleChoice", pruned),
    "safetensors_float16": Kind("QuestionAnswering", saved(), dtype="float16"),
    "safetensors_bfloat16": Kind("TokenClassification", saved(), {"num_labels": 5}, dtype="bfloat16"),
    "bin": Kind("PreTraining", saved(safe_serialization=False)),
    "bin_sharded": Kind("PreTraining", saved(safe_serialization=False, max_shard_size=SHARD)),
    "bin_untied": Kind("MaskedLM", saved(safe_serialization=False), UNTIED),
    "bin_base": Kind("Model", saved(safe_serialization=False)),
    "bin_float16": Kind("NextSentencePrediction", saved(safe_serialization=False), dtype="float16"),
    "bin_bfloat16": Kind("SequenceClassification", saved(safe_serialization=False), dtype="bfloat16"),
    "bin_legacy": Kind("MaskedLM", legacy),
    "bin_gamma_beta": Kind("MaskedLM", gamma_beta),
    "bin_data_parallel": Kind("SequenceClassification", data_parallel, {"num_labels": 3}, readable=False),
    "bin_data_parallel_base": Kind("Model", data_parallel, readable=False),
}


def record_torch(name: str, seed: int) -> None:
    import torch
    import transformers

    kind = TORCH[name]
    cls = getattr(transformers, HEADS[kind.head].class_name)
    with tempfile.TemporaryDirectory() as directory:
        model = cls.from_pretrained(start(kind, Path(directory), seed)).to(getattr(torch, kind.dtype))
    model.config.name_or_path = ""  # the directory above, which is no one's business
    kind.write(model, FILES / name)
    record_outputs(name, inputs := inputs_of(kind.head, seed), found := run_torch(model, inputs))
    if kind.readable:
        model, info = cls.from_pretrained(FILES / name, output_loading_info=True)
        check_reading(name, info, found, run_torch(model, inputs))


def record_torch_base(name: str, files: str, seed: int) -> None:
    import transformers

    inputs = inputs_of("Model", seed)
    record_outputs(name, inputs, run_torch(transformers.MobileBertModel.from_pretrained(FILES / files), inputs))


def run_torch(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        return flat(model.double()(**{n: torch.as_tensor(a) for n, a in inputs.items()}))


# --------------------------------------------------------------------------------------------- TensorFlow


def tf_saved(earlier: int = 0, **options: Any) -> Callable[..., Any]:
    """`earlier` models of the class are made before the one that is saved."""

    def write(cls: Any, begin: Path, directory: Path) -> Any:
        for _ in range(earlier):
            cls.from_pretrained(begin)
        return save(cls.from_pretrained(begin), directory, **options)

    return write


def tf_built(**options: Any) -> Callable[..., Any]:
    """A model whose variables came from `build` alone: they lack the name of the model."""

    def write(cls: Any, begin: Path, directory: Path) -> Any:
        source = cls.from_pretrained(begin)
        model = cls(source.config)
        model.build()
        model.set_weights(source.get_weights())
        return save(model, directory, **options)

    return write


def save(model: Any, directory: Path, **options: Any) -> Any:
    model.config.name_or_path = ""
    model.save_pretrained(directory, **options)
    return model


def tf_diverged(cls: Any, begin: Path, directory: Path) -> Any:
    """After a step of training: the decoder of TensorFlow's models goes its own way."""
    import tensorflow as tf

    model = cls.from_pretrained(begin)
    ids = tf.constant(inputs_of("MaskedLM", 0)["input_ids"], tf.int32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model({"input_ids": ids, "labels": ids}).loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    for gradient, variable in zip(gradients, model.trainable_variables, strict=True):
        if gradient is not None:
            variable.assign_sub(0.1 * tf.convert_to_tensor(gradient))
    words, decoder = model.mobilebert.embeddings.weight, model.predictions.predictions.decoder
    if not np.abs(words - decoder).max() > 1e-3:
        raise SystemExit("the decoder did not diverge")
    return save(model, directory)


def tf_save_weights(cls: Any, begin: Path, directory: Path) -> Any:
    """Keras's own `save_weights` after `fit`."""
    model = cls.from_pretrained(begin)
    inputs = {n: a.astype(np.int32) for n, a in inputs_of("SequenceClassification", 0).items()}
    model.compile("sgd")
    model.fit(inputs, np.array([1, 0]), verbose=0)
    model.save_weights(str(directory / "tf_model.h5"))
    model.config.name_or_path = ""
    model.config.save_pretrained(directory)
    return model


def tf_of_transformers_3(cls: Any, begin: Path, directory: Path) -> Any:
    """`mlm___cls` stands for `predictions___cls`, in groups and attributes."""
    import h5py

    old, new = "predictions___cls", "mlm___cls"
    model = save(cls.from_pretrained(begin), directory)
    with h5py.File(directory / "tf_model.h5", "a") as file:
        file.attrs["layer_names"] = [n.replace(old, new).encode() for n in file.attrs["layer_names"]]
        file.move(old, new)
        names = list(file[new].attrs["weight_names"])
        root = names[0].split("/")[0]
        file[new].move(f"{root}/{old}", f"{root}/{new}")
        file[new].attrs["weight_names"] = [n.replace(old, new).encode() for n in names]
    return model


ONE_LAYER = {"num_hidden_layers": 1}  # of HDF5, whose overhead is large
LAYER_NORM = {"normalization_type": "layer_norm", "layer_norm_eps": 0.05}
TENSORFLOW = {
    **{f"h5_{name}": Kind(name, tf_saved()) for name in HEADS},
    "h5_counter_1": Kind("MaskedLM", tf_saved(earlier=1), ONE_LAYER),
    "h5_counter_2": Kind("TokenClassification", tf_saved(earlier=2), ONE_LAYER),
    "h5_built": Kind("PreTraining", tf_built(), ONE_LAYER, readable=False),
    "h5_layer_norm": Kind("Model", tf_saved(), ONE_LAYER | LAYER_NORM),
    "h5_diverged": Kind("MaskedLM", tf_diverged, ONE_LAYER),
    "h5_save_weights": Kind("SequenceClassification", tf_save_weights, ONE_LAYER),
    "h5_of_transformers_3": Kind("MaskedLM", tf_of_transformers_3, ONE_LAYER, readable=False),
    "h5_sharded": Kind("PreTraining", tf_saved(max_shard_size=SHARD)),
    "h5_sharded_counter": Kind("QuestionAnswering", tf_saved(earlier=1, max_shard_size=SHARD), ONE_LAYER),
    "h5_sharded_built": Kind("MaskedLM", tf_built(max_shard_size=SHARD), ONE_LAYER, readable=False),
    "tf_safetensors": Kind("PreTraining", tf_saved(safe_serialization=True)),
    "tf_safetensors_counter": Kind("Model", tf_saved(earlier=1, safe_serialization=True)),
    "tf_safetensors_built": Kind("PreTraining", tf_built(safe_serialization=True), readable=False),
    "tf_safetensors_built_classifier": Kind("MultipleChoice", tf_built(safe_serialization=True), readable=False),
}


def record_tensorflow(name: str, seed: int) -> None:
    import tensorflow as tf
    import transformers

    tf.keras.utils.set_random_seed(seed)  # of dropout in training
    kind = TENSORFLOW[name]
    cls = getattr(transformers, f"TF{HEADS[kind.head].class_name}")
    with tempfile.TemporaryDirectory() as directory:
        model = kind.write(cls, start(kind, Path(directory), seed), FILES / name)
    inputs = inputs_of(kind.head, seed)
    record_outputs(name, inputs, found := run_tensorflow(model, inputs))
    if kind.readable:
        model, info = cls.from_pretrained(FILES / name, output_loading_info=True)
        # A dropout layer is counted as well, and its number is another one each time.
        info = {n: [key for key in keys if not key.startswith("dropout")] for n, keys in info.items()}
        check_reading(name, info, found, run_tensorflow(model, inputs))


def record_tensorflow_base(name: str, files: str, seed: int) -> None:
    import transformers

    inputs = inputs_of("Model", seed)
    record_outputs(name, inputs, run_tensorflow(transformers.TFMobileBertModel.from_pretrained(FILES / files), inputs))


def run_tensorflow(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return flat(model({n: a.astype(np.int32) for n, a in inputs.items()}))


# --------------------------------------------------------------------------------------------------- both


def start(kind: Kind, directory: Path, seed: int) -> Path:
    """Random weights to begin with, half precision numbers so that they repack well."""
    path = random_checkpoint(tiny_config(**SMALL, **kind.fields), HEADS[kind.head], directory, seed)
    file = SafetensorsFile(path / "model.safetensors")
    weights = {name: file.read(name).astype(np.float16).astype(np.float32) for name in file.stored}
    save_weights(path / "model.safetensors", weights)
    return path


def inputs_of(head: str, seed: int, length: int = 7) -> dict[str, np.ndarray]:
    """Two texts, the second padded."""
    rng = np.random.default_rng(seed)
    shape = (2, 3, length) if HEADS[head].per_choice else (2, length)
    ids = rng.integers(1, SMALL["vocab_size"], shape)
    mask = np.ones(shape, np.int64)
    ids[1, ..., length - 2 :] = mask[1, ..., length - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": rng.integers(0, 3, shape)}


def record_outputs(name: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    for output, values in outputs.items():
        largest = np.abs(values).max(axis=-1)
        if not largest.min() > 0.1 * largest.max():
            raise SystemExit(f"{name}: a vector of {output} is almost 0 and measures rounding; take other seeds")
    arrays = {f"input.{n}": a for n, a in inputs.items()} | {f"output.{n}": a for n, a in outputs.items()}
    np.savez_compressed(FILES / f"{name}.npz", **arrays)


def check_reading(
    name: str, info: dict[str, Any], expected: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> None:
    if any(info.values()):
        raise SystemExit(f"{name}: transformers found other weights than it wants: {info}")
    worst = max(relative_deviation(expected[n], found[n]) for n in expected)
    if not worst <= TOLERANCES["float32"]:
        raise SystemExit(f"{name}: transformers reads another model than it wrote, by {worst:.1e}")


def main() -> None:
    shutil.rmtree(FILES, ignore_errors=True)
    cases = {name: {"files": name, "head": kind.head} for name, kind in {**TORCH, **TENSORFLOW}.items()}
    for name in cases:
        (FILES / name).mkdir(parents=True)
    for seed, name in enumerate(TORCH, start=300):
        record_torch(name, seed)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as processes:
        for seed, name in enumerate(TENSORFLOW, start=100):
            processes.submit(record_tensorflow, name, seed).result()
        processes.submit(record_tensorflow_base, "base_of_h5", "h5_PreTraining", 200).result()
    record_torch_base("base_of_safetensors", "safetensors", 201)
    # The base inside a model with a head is loaded too, from the same files.
    cases["base_of_safetensors"] = {"files": "safetensors", "head": "Model"}
    cases["base_of_h5"] = {"files": "h5_PreTraining", "head": "Model"}
    (FILES / "cases.json").write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Does transformers 4.37.2 load what our writers write? Two halves, for two environments:

    python -m tests.golden.check_written_files write DIRECTORY    # this package with PyTorch and h5py
    python -m tests.golden.check_written_files check DIRECTORY    # transformers 4.37.2, PyTorch, TensorFlow 2.15

The first writes small checkpoints of every head in every format, tied and untied, each with our outputs beside it.
The second loads each with the classes of transformers, PyTorch's and TensorFlow's, and prints a line for each: the
weights that were missing or unexpected, and how far the outputs are from ours. It fails if one is amiss. HDF5 files
are also loaded by Keras's own `load_weights`, which goes by order and not by name.

transformers 4.37.2 cannot load sharded safetensors into TensorFlow, nor sharded HDF5 into PyTorch. Its PyTorch
misses the decoder's bias in every HDF5 file, its own included: TensorFlow has that parameter under one of its two
names only. The line shows it, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from conversion.parity.deviation import TOLERANCES, relative_deviation
from conversion.parity.sample import random_checkpoint
from mobilebert_core.checkpoints.containers.safetensors import SafetensorsFile
from mobilebert_core.checkpoints.containers.shards import write_sharded
from mobilebert_core.checkpoints.containers.tensorflow_writer import write_tensorflow
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table
from tests.golden.record_checkpoint_files import SHARD, SMALL, inputs_of, run_tensorflow, run_torch
from tests.tiny import tiny_config

UNTIED = {"tie_word_embeddings": False}
# Of a full model's depth, the lists of names no longer fit one attribute of HDF5.
MODELS = {
    **{name: (name, {}) for name in HEADS},
    **{f"{name}-untied": (name, UNTIED) for name in HEADS},
    "PreTraining-deep": ("PreTraining", {"num_hidden_layers": 24, "num_feedforward_networks": 4}),
    "Model-layer_norm": ("Model", {"normalization_type": "layer_norm", "layer_norm_eps": 1e-5}),
    "SequenceClassification-no_pooler": ("SequenceClassification", {"classifier_activation": False}),
}
# Format -> the frameworks that load it.
LOADERS = {
    "safetensors": ("torch", "tensorflow"),
    "safetensors-sharded": ("torch",),
    "h5": ("tensorflow", "keras", "torch"),
    "h5-sharded": ("tensorflow",),
}


def write(directory: Path) -> None:
    from tests.backends.backend import TorchBackend

    for seed, (name, (head, fields)) in enumerate(MODELS.items()):
        config = tiny_config(**SMALL, **fields)
        with tempfile.TemporaryDirectory() as folder:
            path = random_checkpoint(config, HEADS[head], Path(folder), seed)
            model = TorchBackend().load(head, path, dtype="float64")
            file = SafetensorsFile(path / "model.safetensors")
            arrays = {weight: file.read(weight) for weight in file.stored}
        inputs = inputs_of(head, seed)
        outputs = {n: value.numpy() for n, value in TorchBackend().call(model.requires_grad_(False), inputs).items()}
        for format in LOADERS:
            written = directory / f"{name}.{format}"
            write_format(written, format, head, config, arrays)
            config.copy(architectures=[HEADS[head].class_name]).save_pretrained(written)
            recorded = {f"input.{n}": a for n, a in inputs.items()} | {f"output.{n}": a for n, a in outputs.items()}
            np.savez(directory / f"{name}.{format}.npz", **recorded)


def write_format(
    directory: Path, format: str, head: str, config: MobileBertConfig, arrays: dict[str, np.ndarray]
) -> None:
    kind, _, sharded = format.partition("-")
    limit = SHARD if sharded else None
    table = weight_table(config, HEADS[head])
    if kind == "h5":
        by_full_name = {weight.full_name: arrays[weight.name] for weight in table if weight.name in arrays}
        write_tensorflow(directory, HEADS[head], table, by_full_name.__getitem__, max_shard_size=limit)
    else:
        stored = {name: TensorInfo(array.shape, str(array.dtype)) for name, array in arrays.items()}
        write_sharded(directory / "model.safetensors", stored, arrays.__getitem__, limit)
    if bool(sharded) != any("-of-" in path.name for path in directory.iterdir()):
        raise SystemExit(f"{directory}: not as many files as wanted")


def check(directory: Path) -> None:
    amiss = 0
    for line, ok in checked(directory):
        print(line, "" if ok else "  <- amiss")
        amiss += not ok
    if amiss:
        raise SystemExit(f"{amiss} amiss")


def checked(directory: Path) -> Iterator[tuple[str, bool]]:
    """A line for every checkpoint and framework, and whether all is well with it."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    paths = sorted(path.parent for path in directory.glob("*/config.json"))
    if not paths:
        raise SystemExit(f"{directory}: no checkpoints; see the first half of {__file__}")
    for path in paths:
        with np.load(directory / f"{path.name}.npz") as arrays:
            inputs = {n.removeprefix("input."): arrays[n] for n in arrays if n.startswith("input.")}
            outputs = {n.removeprefix("output."): arrays[n] for n in arrays if n.startswith("output.")}
        for framework in LOADERS[path.name.rpartition(".")[2]]:
            info, found = loaded(path, framework, inputs)
            worst = max(relative_deviation(outputs[n], found[n]) for n in outputs)
            amiss = {key for keys in info.values() for key in keys}
            if (framework, path.suffix) == ("torch", ".h5"):
                amiss.discard("cls.predictions.decoder.bias")
            ok = worst <= TOLERANCES["float32"] and found.keys() == outputs.keys() and not amiss
            keys = ", ".join(f"{name} {sorted(names)}" for name, names in info.items() if name != "error_msgs" or names)
            yield f"{path.name:48} {framework:10} deviation {worst:.1e}  {keys}", ok


def loaded(path: Path, framework: str, inputs: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What was missing or unexpected, and the outputs."""
    import transformers

    (name,) = json.loads((path / "config.json").read_text(encoding="utf-8"))["architectures"]
    if framework == "torch":
        from_tf = path.name.endswith(".h5")
        model, info = getattr(transformers, name).from_pretrained(path, from_tf=from_tf, output_loading_info=True)
        return info, run_torch(model, inputs)
    cls = getattr(transformers, f"TF{name}")
    if framework == "tensorflow":
        model, info = cls.from_pretrained(path, output_loading_info=True)
    else:
        model, info = cls(transformers.MobileBertConfig.from_pretrained(path)), {}
        model.build_in_name_scope()
        model.load_weights(str(path / "tf_model.h5"))
    return info, run_tensorflow(model, inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=["write", "check"])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    (write if options.half == "write" else check)(options.directory)


if __name__ == "__main__":
    main()

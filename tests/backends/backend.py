"""One face for both frameworks, so that a test of behaviour is written once and runs on each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from tests.tiny import tiny_config


class TorchBackend:
    name = "torch"
    out_of_range: tuple[type[Exception], ...] = (IndexError, RuntimeError)  # from a recorded graph's look-up

    def __init__(self) -> None:
        import mobilebert_torch

        self.classes = mobilebert_torch.MODEL_CLASSES

    def build(self, head: str, config: MobileBertConfig, **kwargs: Any) -> Any:
        return self.classes[head](config, **kwargs).eval()

    def load(self, head: str, path: Path, **kwargs: Any) -> Any:
        return self.classes[head].from_pretrained(path, **kwargs)

    def array(self, value: Any) -> Any:
        import torch

        return torch.as_tensor(np.asarray(value)) if isinstance(value, np.ndarray | list | int | float) else value

    def dtype(self, name: str) -> Any:
        """What stands for a dtype in the arguments of a function of this framework."""
        import torch

        return getattr(torch, name)

    def call(self, model: Any, batch: Mapping[str, Any], **options: Any) -> Any:
        """Runs the model on numpy arrays; outputs are still tensors."""
        return model(**{n: self.array(v) for n, v in batch.items()}, **options)

    def recorded(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """The logits as a function of a batch: an exported program, recorded for one like this."""
        import torch

        example = {n: self.array(v) for n, v in batch.items()}
        program = torch.export.export(model, (), example).module()
        return lambda batch: program(**{n: self.array(v).to(example[n].dtype) for n, v in batch.items()})[
            "logits"
        ].numpy(force=True)

    def numpy(self, value: Any) -> np.ndarray:
        return value.detach().float().numpy() if value.element_size() == 2 else value.detach().numpy()

    def parameters(self, model: Any) -> dict[str, np.ndarray]:
        return {name: self.numpy(p) for name, p in model.named_parameters()}


class KerasBackend:
    name = "keras"

    def __init__(self) -> None:
        import tensorflow as tf

        import mobilebert_tf

        self.out_of_range = (tf.errors.InvalidArgumentError,)  # from a recorded graph's look-up

        self.classes = mobilebert_tf.MODEL_CLASSES

    def build(self, head: str, config: MobileBertConfig, **kwargs: Any) -> Any:
        return self.classes[head](config, **kwargs)

    def load(self, head: str, path: Path, **kwargs: Any) -> Any:
        return self.classes[head].from_pretrained(path, **kwargs)

    def array(self, value: Any) -> Any:
        return value

    def dtype(self, name: str) -> Any:
        """As in PyTorch; here it is a policy."""
        return name

    def call(self, model: Any, batch: Mapping[str, Any], **options: Any) -> Any:
        """Runs the model on numpy arrays; outputs are still tensors."""
        return model(**batch, **options)

    def recorded(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """The logits as a function of a batch: a TensorFlow graph, recorded for one like this."""
        import tensorflow as tf

        example = dict(batch)
        specs = {n: tf.TensorSpec([None, *v.shape[1:]], v.dtype, name=n) for n, v in example.items()}
        graph = tf.function(lambda batch: model(batch, training=False)["logits"], autograph=False)
        function = graph.get_concrete_function(specs)
        return lambda batch: function({n: v.astype(example[n].dtype) for n, v in batch.items()}).numpy()

    def numpy(self, value: Any) -> np.ndarray:
        import keras

        return np.asarray(keras.ops.convert_to_numpy(value))

    def parameters(self, model: Any) -> dict[str, np.ndarray]:
        from mobilebert_tf.variables import variable_array

        found = {}
        for weight in model.weight_table():
            if weight.tied_to is None:
                array = variable_array(model.variable_of(weight))
                found[weight.name] = array.T if "keras" in weight.transposed else array
        return found


Backend = TorchBackend | KerasBackend
BACKENDS = {"torch": TorchBackend, "keras": KerasBackend}
BUILT: dict[tuple[str, str, str], Any] = {}


def built(backend: Backend, head: str = "TokenClassification", **fields: Any) -> Any:
    """A model of one small block, built once in a process, for tests that call it and change nothing."""
    key = (backend.name, head, repr(fields))
    if key not in BUILT:
        small = {"num_hidden_layers": 1, "num_feedforward_networks": 1, "initializer_range": 0.3}
        BUILT[key] = backend.build(head, tiny_config(**{**small, **fields}))
    return BUILT[key]

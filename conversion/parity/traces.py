"""Records what a model computes in one run: every state, attention, score, loss and gradient, as numpy arrays.

The frameworks are imported by the function that needs them. Names follow the order of computation:
embeddings, block.0, attention.0, block.1, ..., pooled, the head's scores, loss, and gradient.<weight> under
the names of the PyTorch state dict.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

_OUTSIDE_HEAD = {"hidden_states", "attentions", "loss", "last_hidden_state", "pooler_output"}


@dataclass(frozen=True)
class Trace:
    """Arrays by name in the order of computation, from the model called `name`, computed in `dtype`."""

    name: str
    dtype: str
    hidden_act: str
    arrays: dict[str, np.ndarray]


def trace(model: Any, batch: Mapping[str, Any], gradients: bool = True) -> Trace:
    """Runs a PyTorch or Keras model on numpy inputs. Dropout is off; afterwards the model is in the mode it was in.

    With labels in the batch the loss is recorded, and the gradient of every weight unless `gradients` is
    False. As in training, the row of the padding token gets no gradient from looking it up.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _trace_torch(model, batch, gradients)
    return _trace_keras(model, batch, gradients)


def _trace_torch(model: Any, batch: Mapping[str, Any], gradients: bool) -> Trace:
    import torch

    was_training = model.training
    model.eval()
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    inputs = {name: torch.as_tensor(np.asarray(value)) for name, value in batch.items()}
    inputs = {name: value.long() if not value.is_floating_point() else value for name, value in inputs.items()}
    model.zero_grad(set_to_none=True)
    with torch.set_grad_enabled(gradients):
        outputs = model(**inputs, output_hidden_states=True, output_attentions=True, return_dict=True)
        arrays = _forward_arrays(outputs, lambda tensor: tensor.detach().double().cpu().numpy())
        if gradients and outputs.get("loss") is not None:
            outputs["loss"].backward()
            for name, parameter in model.named_parameters():
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                arrays[f"gradient.{name}"] = gradient.double().cpu().numpy()
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return Trace(f"PyTorch {type(model).__name__}", dtype, model.config.hidden_act, arrays)


def _trace_keras(model: Any, batch: Mapping[str, Any], gradients: bool) -> Trace:
    import keras

    def as_numpy(tensor: Any) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)

    options = {"output_hidden_states": True, "output_attentions": True, "return_dict": True}
    has_labels = any(name in batch for name in model.head.label_names)
    if gradients and has_labels and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with _without_dropout(model), tf.GradientTape() as tape:
            outputs = model(**batch, **options, training=True)
        arrays = _forward_arrays(outputs, as_numpy)
        weights = [w for w in model.weight_table() if w.tied_to is None]
        variables = [model.variable_of(weight) for weight in weights]
        found = tape.gradient(outputs["loss"], [variable.value for variable in variables])
        for weight, variable, gradient in zip(weights, variables, found, strict=True):
            array = np.zeros(variable.shape) if gradient is None else as_numpy(tf.convert_to_tensor(gradient))
            arrays[f"gradient.{weight.name}"] = array.T if "keras" in weight.transposed else array
    else:
        outputs = model(**batch, **options, training=False)
        arrays = _forward_arrays(outputs, as_numpy)
    return Trace(f"Keras {type(model).__name__}", model.compute_dtype, model.config.hidden_act, arrays)


@contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    """The rate of every dropout layer of a Keras model is 0 inside the block."""
    import keras

    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in layers]
    for layer in layers:
        layer.rate = 0.0
    try:
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.rate = rate


def _forward_arrays(outputs: Mapping[str, Any], as_numpy: Any) -> dict[str, np.ndarray]:
    states, attentions = outputs["hidden_states"], outputs["attentions"]
    arrays = {"embeddings": as_numpy(states[0])}
    for index, (state, attention) in enumerate(zip(states[1:], attentions, strict=True)):
        arrays[f"attention.{index}"] = as_numpy(attention)
        arrays[f"block.{index}"] = as_numpy(state)
    if "pooler_output" in outputs:
        arrays["pooled"] = as_numpy(outputs["pooler_output"])
    for name in outputs:
        if name not in _OUTSIDE_HEAD:
            arrays[f"scores.{name}"] = as_numpy(outputs[name])
    if outputs.get("loss") is not None:
        arrays["loss"] = np.atleast_1d(as_numpy(outputs["loss"]))
    return arrays

"""Predicting arrays on TensorFlow by one recorded graph, without an input pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def predict_arrays(model: Any, inputs: Mapping[str, Any], batch_size: int) -> Any:
    """The model's outputs for all rows of the inputs, batch by batch, joined as numpy arrays."""
    import tensorflow as tf

    function = _recorded(model, inputs, tf)
    rows = next(iter(inputs.values())).shape[0]
    parts = [
        function({name: tf.convert_to_tensor(value[i : i + batch_size]) for name, value in inputs.items()})
        for i in range(0, rows, batch_size)
    ]
    if len(parts) == 1:
        return keras.tree.map_structure(lambda part: part.numpy(), parts[0])
    return keras.tree.map_structure(lambda *same: np.concatenate([part.numpy() for part in same]), *parts)


def _recorded(model: Any, inputs: Mapping[str, Any], tf: Any) -> Any:
    """The model as a graph of any batch size and length, recorded anew when it or the kind of its inputs changed."""
    config = model.config
    specs = {n: tf.TensorSpec((None,) * len(value.shape), value.dtype) for n, value in inputs.items()}
    kind = (
        tuple(specs.items()), config.output_attentions, config.output_hidden_states, config.use_return_dict,
        tuple(id(variable) for variable in model.weights),
    )  # fmt: skip
    known = model.__dict__.get("_recorded_for_arrays")
    if known is None or known[0] != kind:
        function = tf.function(lambda x: model(x, training=False), autograph=False)
        known = (kind, function.get_concrete_function(specs))
        object.__setattr__(model, "_recorded_for_arrays", known)
    return known[1]

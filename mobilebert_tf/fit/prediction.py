"""Predicting arrays on TensorFlow by one recorded graph, without an input pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ..graphs import RecordedGraphs


def predict_arrays(model: Any, inputs: Mapping[str, Any], batch_size: int) -> Any:
    """The model's outputs for all rows of the inputs, batch by batch, joined as numpy arrays."""
    graphs = model.__dict__.get("_prediction_graphs")
    if graphs is None:
        graphs = RecordedGraphs(lambda batch: model(batch, training=False), model)
        # An attribute that Keras would track; of threads that come at once the first one's counts.
        graphs = model.__dict__.setdefault("_prediction_graphs", graphs)
    rows = next(iter(inputs.values())).shape[0]
    parts = [
        graphs({name: value[i : i + batch_size] for name, value in inputs.items()}) for i in range(0, rows, batch_size)
    ]
    if len(parts) == 1:
        return keras.tree.map_structure(lambda part: part.numpy(), parts[0])
    return keras.tree.map_structure(lambda *same: np.concatenate([part.numpy() for part in same]), *parts)

"""Observes a Keras model that reads texts. What is made of it stands in mobilebert_core/quantization.

Twin: mobilebert_torch/calibration.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from keras import ops

from mobilebert_core.quantization.migration import STRENGTH, migrated
from mobilebert_core.quantization.observation import Calibration, Observer, dense_places

from .construction import array_to_write
from .pretrained import TFMobileBertPreTrainedModel

Model = TypeVar("Model", bound=TFMobileBertPreTrainedModel)


def dense_layers(model: TFMobileBertPreTrainedModel) -> dict[str, Any]:
    """The dense layers of a model by their full names, "mobilebert.encoder.layer.0.ffn.0.output.dense"."""
    return {place: model._layer_of(weight) for place, weight in dense_places(model.weight_table()).items()}


def dense_matrices(model: TFMobileBertPreTrainedModel) -> dict[str, np.ndarray]:
    """The matrices of the dense layers by their full names, (out, in) in float32."""
    places = dense_places(model.weight_table())
    return {place: array_to_write(model, weight).astype(np.float32) for place, weight in places.items()}


def calibrate(model: TFMobileBertPreTrainedModel, batches: Iterable[Mapping[str, np.ndarray]]) -> Calibration:
    """What the model's dense layers and scores take for values on batches of inputs by name, (B, S) each.

    The model is as it was trained or folded by "block", and runs without a graph.

    Raises:
        ConfigError: for a model folded by "all", or values that are not finite.
    """
    observer = Observer(model.config)

    def watch(place: str, call: Any) -> Any:
        def watched(x: Any, *arguments: Any, **options: Any) -> Any:
            y = call(x, *arguments, **options)
            observer.dense(place, *(np.asarray(ops.convert_to_numpy(each), np.float64) for each in (x, y)))
            return y

        return watched

    layers = dense_layers(model)
    # A layer that rounds has a call of its own.
    before = {place: vars(layer).get("call") for place, layer in layers.items()}
    try:
        for place, layer in layers.items():
            object.__setattr__(layer, "call", watch(place, layer.call))
        for batch in batches:
            observer.begin(batch)
            model(batch, training=False)
    finally:
        for place, layer in layers.items():
            vars(layer).pop("call", None)
            if before[place] is not None:
                object.__setattr__(layer, "call", before[place])
    return observer.calibration


def copy_of(model: Model) -> Model:
    """A model of its own with the same weights, not compiled."""
    policy = model.dtype_policy
    new = type(model)(model.config.copy(), initializer="zeros", dtype=policy, **model._pooler_option())
    new.set_weights(model.get_weights())
    return new


def migrate(model: Model, calibration: Calibration, strength: float = STRENGTH) -> Model:
    """A copy of a model folded by "block", with the same outputs, whose scales are made even for integers.

    Args:
        calibration: of this model.

    Raises:
        ConfigError: for a model that is not folded by "block".
    """
    weights = {w.full_name: w for w in model.weight_table() if w.tied_to is None}

    def read(full_name: str) -> np.ndarray:
        return array_to_write(model, weights[full_name])

    arrays = migrated(model.config, read, calibration, strength)
    new = copy_of(model)
    for full_name, array in arrays.items():
        weight = weights[full_name]
        new.variable_of(weight).assign(array.T if "keras" in weight.transposed else array)
    return new

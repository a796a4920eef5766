"""Observes a PyTorch model that reads texts. What is made of it stands in mobilebert_core/quantization.

Twin: mobilebert_tf/calibration.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from mobilebert_core.quantization.migration import STRENGTH, migrated
from mobilebert_core.quantization.observation import Calibration, Observer, dense_places

from .inference import Runner
from .pretrained import MobileBertPreTrainedModel

Model = TypeVar("Model", bound=MobileBertPreTrainedModel)


def dense_layers(model: MobileBertPreTrainedModel) -> dict[str, Any]:
    """The dense layers of a model by their full names, "mobilebert.encoder.layer.0.ffn.0.output.dense"."""
    places = dense_places(model.weight_table())
    return {place: model.get_submodule(weight.name.removesuffix(".weight")) for place, weight in places.items()}


def dense_matrices(model: MobileBertPreTrainedModel) -> dict[str, np.ndarray]:
    """The matrices of the dense layers by their full names, (out, in) in float32."""
    return {place: layer.weight.detach().float().cpu().numpy() for place, layer in dense_layers(model).items()}


def calibrate(model: MobileBertPreTrainedModel, batches: Iterable[Mapping[str, np.ndarray]]) -> Calibration:
    """What the model's dense layers and scores take for values on batches of inputs by name, (B, S) each.

    The model, as it was trained or folded by "block", is put in evaluation mode.

    Raises:
        ConfigError: for a model folded by "all", or values that are not finite.
    """
    observer = Observer(model.config)
    runner = Runner(model, model.device)

    def watch(place: str) -> Any:
        def hook(layer: Any, inputs: tuple[Any, ...], output: Any) -> None:
            observer.dense(place, *(each.double().cpu().numpy() for each in (inputs[0], output)))

        return hook

    hooks = [layer.register_forward_hook(watch(place)) for place, layer in dense_layers(model).items()]
    try:
        for batch in batches:
            observer.begin(batch)
            runner.run(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return observer.calibration


def copy_of(model: Model) -> Model:
    """A model of its own with the same weights."""
    return copy.deepcopy(model)


def migrate(model: Model, calibration: Calibration, strength: float = STRENGTH) -> Model:
    """A copy of a model folded by "block", with the same outputs, whose scales are made even for integers.

    Args:
        calibration: of this model.

    Raises:
        ConfigError: for a model that is not folded by "block".
    """
    names = {w.full_name: w.name for w in model.weight_table() if w.tied_to is None}
    state = model.state_dict()
    arrays = migrated(model.config, lambda name: state[names[name]].double().cpu().numpy(), calibration, strength)
    new = copy_of(model)
    with torch.no_grad():
        for full_name, array in arrays.items():
            new.get_parameter(names[full_name]).copy_(torch.as_tensor(array))
    return new

"""What a model is built with when it is loaded and what of it is written: devices, variables that a class adds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from mobilebert_core.checkpoints.call_keywords import one_device
from mobilebert_core.checkpoints.own_weights import OwnWeights
from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.errors import ConfigError
from mobilebert_core.weights import Weight

from .quantization import variable_value
from .variables import variable_array


def mapped_device(call: str, device_map: Any) -> AbstractContextManager[Any]:
    """The context in which variables are made on the one device of a `device_map`, if there is one.

    Raises:
        ConfigError: for one that is not here, and as `one_device`.
    """
    devices = keras.distribution.list_devices() if device_map is not None else []
    accelerated = any(not device.startswith("cpu") for device in devices)
    asked = "auto" if device_map is None else one_device(call, device_map, accelerated)
    if asked == "auto":
        return nullcontext()
    name = f"gpu:{asked}" if isinstance(asked, int) else str(asked).lower().replace("cuda", "gpu")
    name = name if ":" in name else f"{name}:0"
    if name not in ("cpu:0", *devices):
        raise ConfigError(f"{call}: device_map={device_map!r} asks for {name}, which is not here. Pass 'auto'.")
    return keras.device(name)


def model_to_write(model: Any, variant: str | None) -> ModelToWrite:
    """A model as `save_pretrained` writes it; `variant` as there."""
    weights = {w.full_name: w for w in model.weight_table()}
    own = {} if "head" in vars(type(model)) else own_variables(model)
    written = [name for name in own if name not in (model._keys_to_ignore_on_save or ())]
    return ModelToWrite(
        model.config,
        model.head,
        model.variable_dtype,
        lambda name: array_to_write(model, weights[name]) if name in weights else variable_array(own[name]),
        pooler=model._has_pooler,
        own={name: TensorInfo(tuple(own[name].shape), str(own[name].dtype)) for name in written},
        architecture=type(model).__name__ if own else None,
        variant=variant,
    )


def array_to_write(model: Any, weight: Weight) -> np.ndarray:
    """A weight as it goes into a file: as it acts, bfloat16 as float32, in PyTorch's orientation."""
    array = variable_value(model._layer_of(weight), (weight.keras or "").rpartition(".")[2])
    array = array.astype("float32" if model.variable_dtype == "bfloat16" else model.variable_dtype, copy=False)
    return array.T if "keras" in weight.transposed else array


def own_weights(model: Any) -> OwnWeights:
    """What a loader must know of a class of the user's."""
    shapes = {name: tuple(variable.shape) for name, variable in own_variables(model).items()}
    return OwnWeights(model._has_pooler, shapes)


def own_variables(model: Any) -> dict[str, Any]:
    """What a class of the user's holds beside the weights of the table: "out.kernel" of its layer `out`.

    Raises:
        ConfigError: when it has no `mobilebert`, or weights in another way than by layers as attributes.
    """
    name = type(model).__name__
    if not hasattr(model, "mobilebert"):
        raise ConfigError(
            f"{name}: wanted a TFMobileBertMainLayer under the name `mobilebert`, as in "
            "self.mobilebert = TFMobileBertMainLayer(config, True, initializer=initializer, dtype=dtype); it has none."
        )
    table = {id(model.variable_of(weight)) for weight in model.weight_table() if weight.tied_to is None}
    found = {}
    for attribute, layer in vars(model).items():
        if isinstance(layer, keras.Layer) and attribute != "mobilebert":
            for variable in (v for v in layer.weights if id(v) not in table):
                inner = variable.path.rpartition(f"{layer.name}/")[2].replace("/", ".")
                found[f"{attribute}.{inner}"] = variable
    if len(found) + len(table) < len({id(v) for v in model.weights}):
        raise ConfigError(
            f"{name}: wanted layers as attributes of their own, such as self.out; the class holds weights in another "
            "way, for which a checkpoint has no name."
        )
    return found

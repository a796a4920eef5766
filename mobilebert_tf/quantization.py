"""Layers that Keras quantized: which they are, their matrices in floating point, and what makes them anew.

Keras writes the integers of such a layer into its files, but leaves it to the model to say which layers are quantized
and how. Formats of other frameworks have no place for integers: there the weights are written as they act.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.errors import ConfigError

from . import lora
from .layer_paths import layers_by_path
from .variables import variable_array

_MATRICES = ("kernel", "embeddings")  # attributes that Keras computes from variables of other names
_WHOLE = (None, "float8")  # modes that keep the matrix; float8 rounds it anew in each call


def quantized_layers(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """The quantized layers inside a model by their path of names."""
    return {path: layer for path, layer in layers_by_path(model).items() if layer.quantization_mode is not None}


def refuse_quantized(caller: str, model: keras.layers.Layer, why: str) -> None:
    """Raises a ConfigError if layers of the model are quantized; `why` says what they stand in the way of."""
    if found := quantized_layers(model):
        path, layer = next(iter(found.items()))
        raise ConfigError(
            f"{caller}: {why}; wanted weights in floating point, got {len(found)} quantized layers, the first {path} "
            f"({layer.quantization_mode}). Do it before `quantize`, or on the rounded weights: save_pretrained, then "
            "from_pretrained."
        )


def refuse_twice(caller: str, model: keras.layers.Layer, filters: Any) -> None:
    """Raises a ConfigError if a layer that `filters` selects is quantized: Keras raises after it has done others."""
    found = {path: layer for path, layer in quantized_layers(model).items() if _is_selected(layer, filters)}
    if found:
        path, layer = next(iter(found.items()))
        raise ConfigError(
            f"{caller}: wanted layers in floating point, got {len(found)} that are quantized already, the first {path} "
            f"({layer.quantization_mode}). Select others by filters, or quantize the rounded weights: save_pretrained, "
            "then from_pretrained."
        )


def _is_selected(layer: keras.layers.Layer, filters: Any) -> bool:
    if filters is None:
        return True
    from keras.src.quantizers.utils import should_quantize_layer  # not exported; there since Keras has filters

    return bool(should_quantize_layer(layer, filters))


def variable_value(layer: keras.layers.Layer, attribute: str) -> np.ndarray:
    """A copy of a variable's value as it acts: a matrix in floating point, with its low-rank adapters.

    Raises:
        ConfigError: for a quantization from which the weights cannot be computed back.
    """
    value = getattr(layer, attribute)
    quantized = getattr(layer, "quantization_mode", None) not in _WHOLE
    if attribute not in _MATRICES or not (quantized or getattr(layer, "lora_enabled", False)):
        return variable_array(value)
    if isinstance(layer, keras.layers.Embedding) and quantized:
        return variable_array(layer(ops.arange(layer.input_dim)))  # with its adapters
    base = _kernel(layer) if quantized else lora.adapter_variables(layer)[0]
    return variable_array(lora.merged(layer, base) if layer.lora_enabled else base)


def _kernel(layer: Any) -> Any:
    """The kernel of a quantized dense layer in float32, by the formulas of Keras's own calls."""
    mode = layer.quantization_mode
    if mode not in ("int8", "int4"):
        raise ConfigError(
            f"The weights of {layer.path}, quantized by {mode!r}, cannot be written in floating point; this is done "
            "for 'int8', 'int4' and 'float8'. Save the model in a .keras file, or before `quantize`."
        )
    kernel = layer._kernel
    if mode == "int4":
        kernel = keras.quantizers.unpack_int4(kernel, layer.units, axis=-1)
    kernel, scale = ops.cast(kernel, "float32"), ops.cast(layer.kernel_scale, "float32")
    if not hasattr(layer, "kernel_zero"):
        return kernel / scale
    groups = ops.cast(layer.g_idx, "int32")  # each row's
    zero = ops.take(ops.cast(layer.kernel_zero, "float32"), groups, axis=0)
    return (kernel - zero) * ops.take(scale, groups, axis=0)


def described(model: keras.layers.Layer) -> dict[str, Any]:
    """What `restore` needs to quantize the same layers in the same way: path -> a Keras configuration.

    Layers that were built quantized, because their dtype policy says so, are left to the policy.
    """
    return {
        path: keras.saving.serialize_keras_object(layer.quantization_config)
        for path, layer in quantized_layers(model).items()
        if layer.quantization_config is not None
    }


def restore(model: keras.layers.Layer, layers: Mapping[str, Any]) -> None:
    """Quantizes layers of a model that holds no values yet, as `described` says. (Values come with the file.)"""
    found = layers_by_path(model)
    with one_collection():
        for path, config in layers.items():
            if path not in found:
                raise ConfigError(
                    f"The file says that the layer {path!r} is quantized; {model.name} has no such layer."
                )
            found[path].quantize(config=keras.saving.deserialize_keras_object(config))


def quantize_parts(layer: keras.layers.Layer, config: Any) -> None:
    """Quantizes every dense layer and table inside a layer that is built, as far as Keras has a way for it."""
    with one_collection():
        for part in layers_by_path(layer).values():
            if isinstance(part, keras.layers.Dense | keras.layers.Embedding):
                with suppress(NotImplementedError):  # a table has no float8
                    part.quantize(config=config)


@contextmanager
def one_collection() -> Iterator[None]:
    """Collects garbage once at the end: Keras does it for every layer, which takes minutes for a whole model."""
    if gc.get_freeze_count():  # the caller's own
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()

"""Dtype policies: as arguments, and one a layer by a `keras.dtype_policies.DTypePolicyMap`, whose keys are paths.

Keras makes a layer's path of names, the model's in front, which it numbers: "tf_mobile_bert_model_1/mobilebert/...". A
map is for any model of its kind, so that name is not compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import keras

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import ConfigError
from mobilebert_core.weight_rows import scaled_by_powers

from .layer_paths import layers_by_path

_HALF = ("float16", "bfloat16")


def from_argument(dtype: Any, of_file: str | None) -> Any:
    """The `dtype` argument of `from_pretrained`, where "auto" is the dtype of the file."""
    if dtype == "auto":
        return of_file
    known = isinstance(dtype, str) and (dtype in DTYPES or dtype.startswith("mixed_") or "_from_" in dtype)
    if isinstance(dtype, str) and not known:
        raise ConfigError(f"dtype must be 'auto', a Keras policy or one of {', '.join(DTYPES)}, got {dtype!r}.")
    return dtype


def split_quantization(dtype: Any) -> tuple[Any, Any]:
    """A policy such as "int8_from_float32" as the one that layers are made with and how they are quantized then.

    The second is None for other policies. Not every layer can be quantized: dense layers and tables are.

    Raises:
        ConfigError: for a quantization that needs texts.
    """
    policy = keras.dtype_policies.get(dtype)
    if not isinstance(policy, keras.dtype_policies.QuantizedDTypePolicy):
        return dtype, None
    mode, of = policy.quantization_mode, policy._source_name
    if mode == "int4":
        size = getattr(policy, "block_size", None)
        return of, keras.quantizers.Int4QuantizationConfig(**({} if size is None else {"block_size": size}))
    if mode == "int8":
        return of, keras.quantizers.Int8QuantizationConfig()
    if mode == "float8":
        return of, keras.quantizers.Float8QuantizationConfig()
    raise ConfigError(
        f"dtype {policy.name!r}: {mode} looks at texts, of which a model that is being made has none; wanted int8, "
        f"int4 or float8. Make the model in {of}, then call quantize({mode!r}, config=...)."
    )


def wide_dtype(x: Any) -> str:
    """float32 for half precision, which has too little range for states and scores of this model; else that of x."""
    dtype: str = keras.backend.standardize_dtype(x.dtype)
    return "float32" if dtype in _HALF else dtype


def widened(x: Any) -> Any:
    """Half precision as float32, others as they are."""
    return keras.ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in _HALF else x


def wide(policy: Any) -> Any:
    """The policy, or float32 in place of one that computes in half precision; a map says itself what each layer is.

    For layers whose outputs are beyond the range of half precision.
    """
    half = keras.dtype_policies.get(policy).compute_dtype in _HALF
    is_map = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    return keras.dtype_policies.DTypePolicy("float32") if half and not is_map else policy


def of_heads(config: MobileBertConfig, policy: Any) -> Any:
    """The policy of pooler and head in a model with a policy: they read what powers of two scale in float32."""
    return wide(policy) if scaled_by_powers(config) else policy


def apply_map(model: Any, parts: Collection[str]) -> None:
    """Gives a model whose policy is a map one with keys for its own name, of keys that start with a part of it too."""
    policies = model.dtype_policy
    if isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        _check_default(model, policies)
        model.dtype_policy = _map(policies, _with_whole_keys(policies, model.name, model.name, parts))


def hold_map(layer: keras.layers.Layer) -> Any:
    """The map that a caller passed to a layer by itself, which gets a copy, for `place_map` to fill.

    None for other policies, and for a part, whose map is that of the layer around it.
    """
    policies = layer.dtype_policy
    if not isinstance(policies, keras.dtype_policies.DTypePolicyMap) or getattr(policies, _WHOLE_KEYS, False):
        return None
    _check_default(layer, policies)
    layer.dtype_policy = _map(policies, {})
    return policies


def place_map(layer: keras.layers.Layer, policies: Any) -> None:
    """Fills the map of a layer, which its parts have too, with keys of their paths. The layer knows its own now."""
    parts = {part.name for part in layer._flatten_layers(include_self=False, recursive=False)}
    layer.dtype_policy.update(_with_whole_keys(policies, layer.name, layer.path, parts))


def _check_default(layer: keras.layers.Layer, policies: Any) -> None:
    if policies.default_policy.quantization_mode is not None:
        raise ConfigError(
            f"{type(layer).__name__}: wanted a map whose default is in floating point, since norms are not quantized, "
            f"got {policies.default_policy.name!r}. Name the dense layers and tables that are to be."
        )


def _with_whole_keys(policies: Any, name: str, path: str, parts: Collection[str]) -> dict[str, Any]:
    """The entries of a map for a layer of this name and path: a key may start with a part of it, or with any name."""
    entries = {}
    for key in policies:
        first, _, rest = key.partition("/")
        if first in parts:
            entries[f"{path}/{key}"] = policies[key]
        elif rest.partition("/")[0] in parts and re.fullmatch(r"\w+", first):
            entries[f"{path}/{rest}"] = policies[key]
        else:
            entries[path if key == name else key] = policies[key]
    return entries


def take_quantized(model: keras.layers.Layer) -> None:
    """Gives each layer that the model's map quantizes that policy itself: Keras saves no integers of one with a map."""
    policies = model.dtype_policy
    if isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        for layer in layers_by_path(model).values():
            if layer.path and policies[layer.path].quantization_mode is not None:
                layer._dtype_policy = policies[layer.path]  # Keras's setter would change the map


def check_used(model: keras.layers.Layer) -> None:
    """Raises a ConfigError for a key of the model's map that is no layer's."""
    policies = model.dtype_policy
    if not isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        return
    layers = layers_by_path(model).values()
    paths = [layer.path for layer in layers if layer.path]
    modes = [(layer, f"_{layer.quantization_mode}_call") for layer in layers if layer.quantization_mode is not None]
    unable = [x.path for x, call in modes if getattr(type(x), call) is getattr(keras.layers.Layer, call)]
    if unable:
        raise ConfigError(
            f"{type(model).__name__}: dtype quantizes layers that cannot be: {', '.join(unable[:4])}. Name dense "
            "layers and tables, or pass a policy for the whole model, such as 'int8_from_float32'."
        )
    unused = [key for key in policies if key not in paths and not any(re.fullmatch(key, path) for path in paths)]
    if unused:
        raise ConfigError(
            f"{type(model).__name__}: dtype names layers that are not there: {', '.join(unused)}. A key is a layer's "
            f"path or a regular expression for all of it, such as {paths[-1]}."
        )


def serialized(model: keras.layers.Layer) -> dict[str, Any]:
    """The model's policy as Keras writes it; without what a layer that was quantized later added to a map."""
    policies = model.dtype_policy
    if isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        entries = {key: policies[key] for key in policies}
        for layer in layers_by_path(model).values():
            if layer.path in entries and getattr(layer, "quantization_config", None) is not None:
                entries[layer.path] = keras.dtype_policies.get(entries[layer.path]._source_name)
        policies = _map(policies, entries)
    return keras.dtype_policies.serialize(policies)


def in_float32(model: keras.layers.Layer) -> Any:
    """The model's policy with float32 in the place of every other dtype; what is quantized stays so."""
    policy = keras.dtype_policies.get(serialized(model))
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        entries = {key: _in_float32(entry) for key, entry in policy.items()}
        return keras.dtype_policies.DTypePolicyMap(default_policy="float32", policy_map=entries)
    return _in_float32(policy)


def _in_float32(policy: Any) -> Any:
    if policy.quantization_mode is None:
        return keras.dtype_policies.DTypePolicy("float32")
    return keras.dtype_policies.get(f"{policy.name.rpartition('_from_')[0]}_from_float32")


def serialized_map(layer: Any) -> dict[str, Any]:
    """The "dtype" of a layer's configuration where it is a map: one of the layers inside, by their paths from there.

    A part has the map of the model around it, of whose other layers a configuration of its own says nothing.
    """
    policies = layer.dtype_policy
    if not isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        return {}
    entries = {}
    if layer.built:
        for part in layers_by_path(layer).values():
            policy = policies[part.path] if part.path else policies.default_policy
            if getattr(part, "quantization_config", None) is not None:
                policy = keras.dtype_policies.get(policy._source_name)
            if policy != policies.default_policy:
                entries[part.path.removeprefix(f"{layer.path}/") if part is not layer else layer.name] = policy
    else:
        entries = dict((layer._map_to_place or policies).items())
    return {"dtype": keras.dtype_policies.serialize(_map(policies, entries))}


_WHOLE_KEYS = "has_whole_keys"  # an attribute of maps that we made for a model or a layer by itself


def _map(policies: Any, entries: dict[str, Any]) -> Any:
    made = keras.dtype_policies.DTypePolicyMap(default_policy=policies.default_policy.name, policy_map=entries)
    setattr(made, _WHOLE_KEYS, True)
    return made

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
from mobilebert_core.weights import scaled_by_powers

from .layer_paths import layers_by_path


def from_argument(dtype: Any, of_file: str | None) -> Any:
    """The `dtype` argument of `from_pretrained`, where "auto" is the dtype of the file."""
    if dtype == "auto":
        return of_file
    if isinstance(dtype, str) and not dtype.startswith("mixed_") and dtype not in DTYPES:
        raise ConfigError(f"dtype must be 'auto', a Keras policy or one of {', '.join(DTYPES)}, got {dtype!r}.")
    return dtype


def wide(policy: Any) -> Any:
    """The policy, or float32 in place of one that computes in half precision; a map says itself what each layer is.

    For layers whose outputs are beyond the range of half precision.
    """
    half = keras.dtype_policies.get(policy).compute_dtype in ("float16", "bfloat16")
    is_map = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    return keras.dtype_policies.DTypePolicy("float32") if half and not is_map else policy


def of_heads(config: MobileBertConfig, policy: Any) -> Any:
    """The policy of pooler and head in a model with a policy: they read what powers of two scale in float32."""
    return wide(policy) if scaled_by_powers(config) else policy


def apply_map(model: Any, parts: Collection[str]) -> None:
    """Gives a model whose policy is a map one with keys for its own name, of keys that start with a part of it too."""
    policies, name = model.dtype_policy, model.name
    if not isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        return
    keys = {}
    for key in policies:
        first, _, rest = key.partition("/")
        if first in parts:
            keys[key] = f"{name}/{key}"
        elif rest.partition("/")[0] in parts and re.fullmatch(r"\w+", first):
            keys[key] = f"{name}/{rest}"
        else:
            keys[key] = key
    model.dtype_policy = _map(policies, {keys[key]: policies[key] for key in policies})


def check_used(model: keras.layers.Layer) -> None:
    """Raises a ConfigError for a key of the model's map that is no layer's."""
    policies = model.dtype_policy
    if not isinstance(policies, keras.dtype_policies.DTypePolicyMap):
        return
    paths = [layer.path for layer in layers_by_path(model).values() if layer.path]
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


def _map(policies: Any, entries: dict[str, Any]) -> Any:
    return keras.dtype_policies.DTypePolicyMap(default_policy=policies.default_policy.name, policy_map=entries)

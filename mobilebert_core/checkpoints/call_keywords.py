"""Keywords that scripts written for transformers pass to `from_pretrained` and `save_pretrained`.

Three kinds: what changes nothing here whatever its value, what is accepted where it asks for nothing, and what is
honoured. For the rest the message speaks of the call.
"""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from ..configuration.fields import ConfigFields
from ..configuration.json_dialect import ALIASES, DERIVED, INERT_FIELDS
from ..errors import ConfigError
from ..processes import warn

logger = logging.getLogger("mobilebert")

# A checkpoint is read whole, by either framework, from any of its files, and no code in it is run.
WITHOUT_EFFECT = frozenset(
    {
        "adapter_name", "code_revision", "disable_mmap", "from_pt", "from_tf", "low_cpu_mem_usage", "max_memory",
        "mirror", "offload_buffers", "offload_folder", "offload_state_dict", "tqdm_class", "trust_remote_code",
        "use_safetensors", "weights_only",
        "_commit_hash", "_configuration_file", "_fast_init", "_from_auto", "_from_pipeline",
    }
)  # fmt: skip

_NO_QUANTIZATION = (
    "weights are loaded in a floating-point dtype. Leave it out and quantize the loaded model with the tools of its "
    "framework"
)
_ONE_DEVICE = "a model is loaded on one device. Leave it out and distribute the loaded model with the framework's tools"
# Name: the values that ask for nothing, and what is to be said of others.
NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "allow_all_kernels": ((None, False), "no kernels are fetched. Leave it out"),
    "experts_implementation": ((None,), "MobileBERT has no experts. Leave it out"),
    "from_flax": ((None, False), "Flax's msgpack files are not read. Save the model in PyTorch's format first"),
    "fusion_config": ((None,), "modules are not replaced while loading. Leave it out"),
    "gguf_file": ((None,), "GGUF files are not read"),
    "generation_config": ((None,), "MobileBERT generates nothing. Leave it out"),
    "kernel_config": ((None,), "no kernels are fetched. Leave it out"),
    "quantization_config": ((None,), _NO_QUANTIZATION),
    "load_in_4bit": ((None, False), _NO_QUANTIZATION),
    "load_in_8bit": ((None, False), _NO_QUANTIZATION),
    "push_to_hub": ((None, False), "nothing is uploaded by loading. Call push_to_hub of the loaded model"),
    "tp_plan": ((None,), _ONE_DEVICE),
    "tp_size": ((None, 1), _ONE_DEVICE),
    "device_mesh": ((None,), _ONE_DEVICE),
    "distributed_config": ((None,), _ONE_DEVICE),
    "use_flash_attention_2": ((None, False), "attention is the framework's own. Leave it out"),
    "use_kernels": ((None, False), "no kernels are fetched. Leave it out"),
}
_FIELDS = (*ConfigFields.__dataclass_fields__, *ALIASES, *INERT_FIELDS, *DERIVED)
_PLANS = ("auto", "balanced", "balanced_low_0", "sequential")


def take_neutral(call: str, keywords: MutableMapping[str, Any], neutral: Mapping[str, Any] = NEUTRAL) -> None:
    """Takes away what asks for nothing. Raises ConfigError for one of NEUTRAL that asks for something."""
    for name in WITHOUT_EFFECT:
        keywords.pop(name, None)
    for name, (values, advice) in neutral.items():
        if name in keywords:
            value = keywords.pop(name)
            if not any(value is one or value == one for one in values):
                raise ConfigError(f"{call}: {name}={value!r} cannot be honoured: {advice}.")
    adapter = keywords.pop("adapter_kwargs", None) or {}
    if adapter.get("_adapter_model_path"):
        raise ConfigError(
            f"{call}: {adapter['_adapter_model_path']} has an adapter of PEFT beside the model. Load the model from "
            "its own directory and the adapter with peft.PeftModel.from_pretrained."
        )


def for_random_weights(call: str, config: Any, keywords: MutableMapping[str, Any]) -> tuple[Any, Any]:
    """The configuration and the dtype, None where none is passed, of a call that makes a model without a file.

    They are taken out of `keywords`, with what asks for nothing. Raises ConfigError as `take_neutral`.
    """
    take_neutral(call, keywords)
    spellings = [keywords.pop(name, None) for name in ("dtype", "torch_dtype")]
    dtype = next((dtype for dtype in spellings if dtype is not None), None)
    if keywords.get("attn_implementation") is not None:
        config = copy.deepcopy(config)
        config.attn_implementation = keywords["attn_implementation"]
    keywords.pop("attn_implementation", None)
    return config, config.dtype if isinstance(dtype, str) and dtype == "auto" else dtype


def check_fields(
    call: str,
    keywords: Iterable[str],
    known: Iterable[str] = _FIELDS,
    own: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Raises ConfigError for a keyword that is neither of the call nor a field of the configuration.

    `own` gives the keys that the user's file has beside the fields; it is asked only where others are passed.
    """
    known = list(known)
    if any(name not in known for name in keywords):
        known += own()
    if unknown := [name for name in keywords if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        named = ", ".join(map(repr, unknown))
        raise ConfigError(f"{call}: no such keyword: {named}{hint} It is none of the call and no configuration field.")


def checked_arguments(
    call: str, key_mapping: Any, allow_missing: Any, allow_unknown: Any
) -> tuple[list[str], list[str]]:
    """The names that may be missing, and those that may be unknown, of which one text is one.

    Raises:
        ConfigError: for what are no names, and a `key_mapping` that does not map texts to texts.
    """
    names = {"allow_missing": allow_missing, "allow_unknown": allow_unknown}
    for keyword, passed in names.items():
        found = [passed] if isinstance(passed, str) else list(passed) if isinstance(passed, Iterable) else None
        if found is None or not all(isinstance(name, str) for name in found):
            raise ConfigError(f"{call}: {keyword} must be names of weights, got {passed!r}.")
        names[keyword] = found
    pairs = key_mapping.items() if isinstance(key_mapping, Mapping) else [(key_mapping, "")] * (key_mapping is not None)
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ConfigError(f"{call}: key_mapping must map regular expressions to texts, got {key_mapping!r}.")
    return names["allow_missing"], names["allow_unknown"]


def one_device(call: str, device_map: Any, accelerated: bool) -> Any:
    """The device of `device_map`: "auto", or what a framework takes for one.

    A number is that of an accelerator; in scripts it is mostly that of the process, which without any
    (`accelerated`) computes on the CPU. That is logged.

    Raises:
        ConfigError: for a map that spreads the model, or names no device.
    """
    devices = list(device_map.values()) if isinstance(device_map, Mapping) else [device_map]
    distinct = list(dict.fromkeys(map(str, devices)))
    if len(distinct) != 1 or distinct[0] in ("disk", "meta"):
        raise ConfigError(
            f"{call}: device_map={device_map!r} cannot be honoured: {_ONE_DEVICE}. Pass 'auto', 'cpu' or one device."
        )
    if isinstance(devices[0], int) and not accelerated:
        warn(logger, "%s: device_map=%r: there is no accelerator here; the model is on the CPU.", call, device_map)
        return "cpu"
    return "auto" if devices[0] in _PLANS else devices[0]

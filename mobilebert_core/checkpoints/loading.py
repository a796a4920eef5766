"""What `from_pretrained` does before a framework comes in: path and options in, configuration and plan out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..files import CONFIG_FILE
from ..heads import Head, check_head
from ..hub.resolve import resolve, take_hub_keywords
from ..saves import current
from ..weights import every_weight
from .call_keywords import check_fields, checked_arguments, take_neutral
from .configurations import ConfigFile, configuration, keys_beside
from .names.torch import torch_names
from .opening import open_checkpoint
from .own_weights import NOTHING_IGNORED, IgnoredNames, OwnWeights, take_own_weights
from .plan import LoadPlan, plan_loading, resolve_ties
from .tensor_info import MappedCheckpoint, RewrittenNames, WeightFile


@dataclass(frozen=True)
class Loading:
    """A model's configuration, where each of its weights comes from, and `read` by those names.

    `own` are names of weights of the class's own that the file has (see `OwnWeights`).
    """

    config: MobileBertConfig
    plan: LoadPlan
    read: Callable[[str], np.ndarray]
    own: tuple[str, ...] = ()


def prepare_loading(
    name_or_path: str | os.PathLike[str] | None,
    head: Head,
    *,
    config: MobileBertConfig | str | Path | None = None,
    state_dict: WeightFile | None = None,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
    allow_missing: Iterable[str] = (),
    allow_unknown: Iterable[str] = (),
    variant: str | None = None,
    key_mapping: Mapping[str, str] | None = None,
    own: Callable[[MobileBertConfig], OwnWeights] | None = None,
    ignored: IgnoredNames = NOTHING_IGNORED,
    owner: Any = None,
    keywords: Mapping[str, Any],
) -> Loading:
    """Settles a load from any checkpoint, all or nothing; nothing is built yet.

    Args:
        name_or_path: whatever `open_checkpoint` takes, or a name on the Hugging Face hub.
        config: in place of the configuration found with the checkpoint; a path or a name on the hub of its own.
        state_dict: in place of the file of weights; the path then only has the configuration.
        pooler: whether the pooler is there, as in `weight_table`.
        allow_unknown: names in the file that are no weights of a MobileBERT and may stay there.
        variant: of the file's name: "fp16" for model.fp16.safetensors.
        key_mapping: regular expressions for names in the file, and what takes the place of what they match.
        owner: the class of the model: its name is in messages, its `config_class` that of the configuration found.
        own: what a class of the user's has beside its head's weights, for the configuration.
        ignored: names that may be missing or unexpected without a word.
        keywords: fields of the configuration, those of `hub.resolve`, and those of `call_keywords`.

    Raises:
        CheckpointNotFoundError: when a file is not there.
        CheckpointError: when weights are missing, unknown or mis-shaped, or a file is damaged.
        ConfigError: for a configuration of another model or an unknown keyword.
    """
    config_class = MobileBertConfig if owner is None else owner.config_class
    call = f"{head.class_name if owner is None else owner.__name__}.from_pretrained"
    overrides = dict(keywords)
    take_neutral(call, overrides)
    allow_missing, allow_unknown = checked_arguments(call, key_mapping, allow_missing, allow_unknown)
    hub, passed = take_hub_keywords(overrides), name_or_path or ""
    beside = partial(keys_beside, passed if config is None else config)
    check_fields(call, overrides, own=lambda: beside() | config_class.own_fields())
    path = resolve(passed, config=config is None, weights=state_dict is None, variant=variant, **hub)
    if not isinstance(config, MobileBertConfig):
        overrides = {"name_or_path": os.fspath(passed), **overrides}
        config = None if config is None else resolve(_place(call, config), config=True, **{**hub, "subfolder": None})

    # That a configuration is of another model says more than anything about its weights.
    check = partial(_in_class(config_class, ConfigFile.configuration), **overrides) if config is None else None
    found_config, weights_of = _sources(path, config, state_dict, check, variant, key_mapping)
    if not isinstance(config, MobileBertConfig):
        found_config = _in_class(config_class, found_config)
    resolved = found_config(**overrides)
    check_head(resolved, head)
    weights = weights_of(_of_the_file(found_config, overrides, resolved))
    weights.leave_out(allow_unknown)
    resolved = resolve_ties(weights, resolved, head)
    parts = OwnWeights(pooler, {}) if own is None else own(resolved)
    found = take_own_weights(weights, parts, ignore_mismatched_sizes, ignored)
    weights.leave_out(ignored.unexpected_among(weights.unknown))
    plan = plan_loading(weights, resolved, head, parts.pooler, ignore_mismatched_sizes, allow_missing, ignored)
    return Loading(resolved, plan, weights.read, found)


def _sources(
    path: Path, config: Any, state_dict: WeightFile | None, check: Any, variant: str | None, key_mapping: Any
) -> tuple[Callable[..., MobileBertConfig], Callable[[MobileBertConfig], MappedCheckpoint]]:
    """What gives the configuration, and then the weights under their names."""
    if state_dict is None:
        checkpoint = open_checkpoint(path, check, variant)
        if key_mapping:
            checkpoint = replace(checkpoint, file=RewrittenNames(checkpoint.file, key_mapping))
        return partial(checkpoint.config, config), checkpoint.weights
    here = ConfigFile(current(path / CONFIG_FILE)).configuration if config is None and path.is_dir() else None
    return here or partial(configuration, path if config is None else config), partial(_torch_names, state_dict)


def _in_class(
    config_class: type[MobileBertConfig], found_config: Callable[..., MobileBertConfig]
) -> Callable[..., MobileBertConfig]:
    """What gives a configuration, giving one of a derived class, whose own fields it takes as well."""
    own = config_class.own_fields()

    def found(*args: Any, **overrides: Any) -> MobileBertConfig:
        config = found_config(*args, **{name: value for name, value in overrides.items() if name not in own})
        if isinstance(config, config_class):
            return config
        passed = {name: value for name, value in overrides.items() if name in own}
        return config_class.from_dict(config.to_dict(), name_or_path=config.name_or_path, **passed)

    return found


def _place(call: str, config: Any) -> str | os.PathLike[str]:
    """Where a configuration is; raises ConfigError for an object of another library."""
    if isinstance(config, str | os.PathLike):
        return config
    kind, way = type(config), "config" if isinstance(config, Mapping) else "config.to_dict()"
    raise ConfigError(
        f"{call}: config must be a mobilebert_core.MobileBertConfig or a path, got {kind.__module__}."
        f"{kind.__qualname__}. Another becomes one by MobileBertConfig.from_dict({way})."
    )


def _torch_names(state_dict: WeightFile, config: MobileBertConfig) -> MappedCheckpoint:
    return torch_names(state_dict, every_weight(config))


def _of_the_file(
    found_config: Callable[..., MobileBertConfig], overrides: Mapping[str, Any], resolved: MobileBertConfig
) -> MobileBertConfig:
    """The configuration by which names are known: a call that asks for fewer layers leaves the higher ones unused."""
    if "num_hidden_layers" not in overrides:
        return resolved
    whole = found_config(**{name: value for name, value in overrides.items() if name != "num_hidden_layers"})
    return whole if whole.num_hidden_layers > resolved.num_hidden_layers else resolved

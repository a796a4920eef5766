"""What `from_pretrained` does before a framework comes in: path and options in, configuration and plan out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..files import CONFIG_FILE
from ..heads import Head, check_head
from ..hub.resolve import resolve, take_hub_keywords
from ..saves import current
from ..weights import every_weight
from .configurations import ConfigFile, configuration
from .names.torch import torch_names
from .opening import open_checkpoint
from .plan import LoadPlan, plan_loading, resolve_ties
from .tensor_info import WeightFile

# What users of transformers pass to `from_pretrained` and what has no meaning for a directory that is read whole,
# by either framework, from any of its files. Accepted, so that switching is changing an import.
WITHOUT_EFFECT = frozenset(
    {
        "from_pt", "from_tf", "low_cpu_mem_usage", "trust_remote_code", "use_safetensors",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Loading:
    """A model's configuration, where each of its weights comes from, and `read` by those names."""

    config: MobileBertConfig
    plan: LoadPlan
    read: Callable[[str], np.ndarray]


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
    keywords: Mapping[str, Any],
) -> Loading:
    """Settles a load from any checkpoint, all or nothing; nothing is built yet.

    Args:
        name_or_path: whatever `open_checkpoint` takes, or a name on the Hugging Face hub.
        config: in place of the configuration found with the checkpoint; a path or a name on the hub of its own.
        state_dict: in place of the file of weights; the path then only has the configuration.
        pooler: whether the pooler is there, as in `weight_table`.
        allow_unknown: names in the file that are no weights of a MobileBERT and may stay there.
        keywords: fields of the configuration, those of `hub.resolve`, and those without effect.

    Raises:
        CheckpointNotFoundError: when a file is not there.
        CheckpointError: when weights are missing, unknown or mis-shaped, or a file is damaged.
        ConfigError: for a configuration of another model or an unknown keyword.
    """
    overrides = {name: value for name, value in keywords.items() if name not in WITHOUT_EFFECT}
    hub = take_hub_keywords(overrides)
    passed = name_or_path or ""
    path = resolve(passed, config=config is None, weights=state_dict is None, **hub)
    if not isinstance(config, MobileBertConfig):
        overrides = {"name_or_path": os.fspath(passed), **overrides}
        config = None if config is None else resolve(config, config=True, **{**hub, "subfolder": None})

    def check(found: ConfigFile) -> None:  # that it is of another model says more than anything about its weights
        if config is None:
            found.configuration(**overrides)

    if state_dict is None:
        checkpoint = open_checkpoint(path, check)
        resolved = checkpoint.config(config, **overrides)
        check_head(resolved, head)
        weights = checkpoint.weights(resolved)
    else:
        found = ConfigFile(current(path / CONFIG_FILE)).configuration if config is None and path.is_dir() else None
        resolved = found(**overrides) if found else configuration(path if config is None else config, **overrides)
        check_head(resolved, head)
        weights = torch_names(state_dict, every_weight(resolved))
    weights.leave_out(allow_unknown)
    resolved = resolve_ties(weights, resolved, head)
    plan = plan_loading(weights, resolved, head, pooler, ignore_mismatched_sizes, allow_missing)
    return Loading(resolved, plan, weights.read)

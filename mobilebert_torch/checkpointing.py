"""The options of gradient checkpointing, checked when they are passed: PyTorch reads them in the forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.utils.checkpoint import checkpoint

from mobilebert_core.errors import ConfigError


def check_checkpointing(options: Any, every: Any) -> None:
    """Raises ConfigError for what `gradient_checkpointing_enable` cannot take."""
    call, known = "gradient_checkpointing_enable", inspect.signature(checkpoint).parameters
    names = [name for name, each in known.items() if each.kind is each.KEYWORD_ONLY]
    names.append("preserve_rng_state")  # which it takes from its other keywords
    if options is not None and (not isinstance(options, Mapping) or not {*options} <= {*names}):
        raise ConfigError(f"{call}: wanted options of {', '.join(names)}, got {options!r}.")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"{call}: every_n_layers must be a whole number of at least 1, got {every!r}.")

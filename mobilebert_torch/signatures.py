"""What a `forward` shows where it is inspected: the Trainer of transformers reads there which arguments are labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from mobilebert_core.heads import HEADS

Forward = TypeVar("Forward", bound=Callable[..., Any])
_ALIASES = {alias for head in HEADS.values() for task in head.tasks for alias in task.aliases}


def labels_under_one_name(forward: Forward) -> Forward:
    """The function itself, which shows each of its labels once; calls take the other names as well.

    The Trainer waits in `evaluate` for all arguments whose names hold "label": of two names for one, the second never
    comes, and the loss is left out.
    """
    shown = inspect.signature(forward)
    kept = [parameter for name, parameter in shown.parameters.items() if name not in _ALIASES]
    forward.__signature__ = shown.replace(parameters=kept)  # type: ignore[attr-defined]  # any function takes it
    return forward

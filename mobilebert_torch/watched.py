"""Modules that a user watches by hooks, replaced or put another around."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules import module as module_state

from mobilebert_core.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


def is_watched(module: nn.Module) -> bool:
    """True if a call of the module is seen or changed from outside: by hooks, or a `forward` of its own."""
    return bool(
        "forward" in vars(module)
        or (module._forward_hooks or module._forward_pre_hooks)
        or (module._backward_hooks or module._backward_pre_hooks)
        or module_state._has_any_global_hook()
    )


def is_watched_inside(module: nn.Module) -> bool:
    """True if a module inside is watched, or of a class that is neither PyTorch's nor of this package.

    Not asked while a graph is compiled.
    """
    if torch.compiler.is_compiling():
        return False
    return any(not _is_known(type(each).__module__) or is_watched(each) for each in module.modules())


@cache
def _is_known(name: str) -> bool:
    return name.partition(".")[0] in ("torch", __name__.partition(".")[0])


def inside(module: nn.Module, kind: type[Module]) -> Module:
    """A module of a class, or the one inside of what is around it. Raises ConfigError where there is none."""
    for each in module.modules():
        if isinstance(each, kind):
            return each
    raise ConfigError(
        f"wanted a {kind.__name__}, or a module around one, got {type(module).__name__}. It gives states their units: "
        "put others in the place of its parts, and before `fold`."
    )

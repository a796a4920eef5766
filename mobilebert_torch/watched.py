"""Modules that a user watches by hooks, replaced or put another around."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules import module as module_state

from mobilebert_core.folding import no_part_inside

Module = TypeVar("Module", bound=nn.Module)

# True where a hook is called for all modules, as by `torch.nn.modules.module.register_module_forward_hook`.
is_every_module_watched: Callable[[], bool] = module_state._has_any_global_hook


def is_watched(module: nn.Module) -> bool:
    """True if a call of the module is seen or changed from outside: by hooks, or a `forward` of its own."""
    return bool(
        "forward" in vars(module)
        or (module._forward_hooks or module._forward_pre_hooks)
        or (module._backward_hooks or module._backward_pre_hooks)
        or is_every_module_watched()
    )


@torch.compiler.assume_constant_result  # which asks when a graph is compiled, and not again
def is_watched_inside(module: nn.Module) -> bool:
    """True if a user watches a module inside, or one is of a class that is neither PyTorch's nor of this package.

    What this package itself puts there, to calibrate or to round, reads what is computed without it, and what FSDP puts
    there gathers weights.
    """
    return any(not _is_known(type(each).__module__) or _is_watched_by_others(each) for each in module.modules())


def _is_watched_by_others(module: nn.Module) -> bool:
    hooks = (
        *module._forward_hooks.values(), *module._forward_pre_hooks.values(),
        *module._backward_hooks.values(), *module._backward_pre_hooks.values(),
    )  # fmt: skip
    seen_by = [each for each in (vars(module).get("forward"), *hooks) if each is not None]
    return is_every_module_watched() or not all(_is_internal(each) for each in seen_by)


def _is_internal(function: Any) -> bool:
    """Whether a function, or what a partial one calls, is of this package or of PyTorch's for many processes."""
    name = getattr(getattr(function, "func", function), "__module__", None) or ""
    return name.startswith((f"{__name__.partition('.')[0]}.", "torch.distributed."))


@cache
def _is_known(name: str) -> bool:
    return name.partition(".")[0] in ("torch", __name__.partition(".")[0])


def inside(module: nn.Module, kind: type[Module]) -> Module:
    """A module of a class, or the one inside of what is around it. Raises ConfigError where there is none."""
    for each in module.modules():
        if isinstance(each, kind):
            return each
    raise no_part_inside(kind.__name__, "module", type(module).__name__)

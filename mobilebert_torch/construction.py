"""What a model is built with when it is loaded: constructor arguments, no random starts, a dtype and a device."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from mobilebert_core.checkpoints.call_keywords import for_random_weights, one_device
from mobilebert_core.checkpoints.plan import LoadPlan
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import ConfigError

Model = TypeVar("Model", bound=torch.nn.Module)


class Unfilled(TorchFunctionMode):
    """Leaves random starts out, for a model that gets its weights from a file.

    On the meta device they fill nothing, but the first one there imports the machinery of `torch.compile`: a second.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", None) in ("uniform_", "normal_", "kaiming_uniform_", "trunc_normal_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def constructor_names(cls: type) -> set[str]:
    """Arguments of a constructor beside the configuration."""
    return set(inspect.signature(cls.__init__).parameters) - {"self", "config"}  # type: ignore[misc]  # of a class


def with_random_weights(cls: Callable[..., Model], config: MobileBertConfig, kwargs: dict[str, Any]) -> Model:
    """A model of the class, with the keywords of `from_config`. Raises ConfigError as `for_random_weights`."""
    config, dtype = for_random_weights(f"{cls.__name__}.from_config", config, kwargs)
    model = cls(config, **kwargs)
    return model if dtype is None else model.to(known_dtype(dtype))


def as_dtype(dtype: torch.dtype | str | None, plan: LoadPlan) -> torch.dtype:
    """The dtype of a call: "auto" is that of the file. Raises ConfigError for one that no model has."""
    return known_dtype(plan.dtype if dtype == "auto" else dtype)


def known_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """The dtype by its name; float32 for None. Raises ConfigError for one that no model has."""
    name = str(dtype or "float32").removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(f"dtype must be 'auto' or one of {', '.join(DTYPES)}, got {dtype!r}.")
    return getattr(torch, name)


def mapped_device(call: str, device_map: Any) -> torch.device:
    """The one device of a `device_map`. Raises ConfigError for one that is not here, and as `one_device`."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    asked = one_device(call, device_map, accelerator is not None)
    if asked == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(f"{accelerator}:{asked}" if isinstance(asked, int) else asked)
    except (RuntimeError, TypeError) as e:
        raise ConfigError(f"{call}: device_map={device_map!r} names no device of PyTorch ({e}).") from None
    here = device.type == "cpu" or (accelerator is not None and device.type == accelerator.type)
    if not here or (device.index or 0) >= (1 if device.type == "cpu" else torch.accelerator.device_count()):
        raise ConfigError(f"{call}: device_map={device_map!r} asks for {device}, which is not here. Pass 'auto'.")
    return device


def check_values(name: str, model: torch.nn.Module) -> None:
    """Raises ConfigError for a loaded model on the meta device, where weights have no values."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ConfigError(
            f"{name}.from_pretrained: wanted weights with values, got a model on the meta device. Call it outside of "
            "torch.device('meta') or init_empty_weights; a model without values is the class called with a config."
        )

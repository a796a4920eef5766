"""What is asked of PyTorch itself, where Keras runs on it or a user passes its tensors. It is imported when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def is_tensor(array: Any) -> bool:
    """Whether an array is PyTorch's."""
    return type(array).__module__ == "torch"


def is_readable(tensor: Any) -> bool:
    """False for tensors on a GPU, whose values would have to be waited for, and for those that stand for others."""
    import torch

    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    recorded = recorded or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return type(tensor) is torch.Tensor and tensor.device.type == "cpu" and not recorded


def values_of(tensor: Any) -> np.ndarray:
    """A readable tensor in NumPy, which has no bfloat16 of PyTorch's."""
    tensor = tensor.detach()
    return np.asarray(tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor)


def tree() -> Any:
    """The module of PyTorch's trees, which Keras on PyTorch uses as its own."""
    from torch.utils import _pytree

    return _pytree


_HOST = "generator"  # and "generator.0" of the first GPU


def generator_states() -> dict[str, np.ndarray]:
    """The states of PyTorch's generators by name, from which Keras on PyTorch draws dropout without a seed.

    None on other backends of Keras, where all random numbers have their state in variables.
    """
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {_HOST: torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"{_HOST}.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy() for name, state in states.items()}


def set_generator_states(states: Mapping[str, np.ndarray]) -> None:
    """Brings the generators to what `generator_states` returned, as far as they are here."""
    if keras.backend.backend() != "torch":
        return
    import torch

    for name, array in states.items():
        device = name.partition(".")[2]
        if not device:
            torch.set_rng_state(torch.as_tensor(array))
        elif int(device) < torch.cuda.device_count():
            torch.cuda.set_rng_state(torch.as_tensor(array), int(device))

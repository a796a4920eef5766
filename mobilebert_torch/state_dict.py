"""State dicts as files of weights, in memory or pickled."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilebert_core.errors import CheckpointError
from mobilebert_core.stored import Stored


class StateDict:
    """A state dict with the face of a weight file; `path` is what messages call it."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path = path
        self._tensors = tensors
        self.stored = {n: Stored(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}

    def read(self, name: str) -> Any:
        """One array as numpy; bfloat16, which numpy lacks, comes exactly as float32."""
        tensor = self._tensors[name].detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def read_pickle(path: Path) -> StateDict:
    """The tensors of a pytorch_model.bin; no code in it is run.

    Raises:
        CheckpointError: when it is damaged, or holds anything else than tensors by name.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise CheckpointError(
            f"{path}: wanted tensors alone, got a file that is damaged or holds other objects; nothing in it was run. "
            "Fetch it again, or ask its author for model.safetensors."
        ) from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: wanted a state dict of tensors, got a {type(found).__name__}.")
    return StateDict(path, found)

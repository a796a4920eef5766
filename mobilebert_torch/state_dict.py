"""State dicts as files of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.errors import CheckpointError


class StateDict:
    """A state dict with the face of a weight file; `path` is what messages call it.

    Raises:
        CheckpointError: for anything but a mapping of names to tensors.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        if not isinstance(tensors, Mapping):
            raise CheckpointError(f"{path}: wanted a mapping of names to tensors, got a {type(tensors).__name__}.")
        wrong = [n for n, t in tensors.items() if not (isinstance(n, str) and isinstance(t, Tensor))]
        if wrong:
            raise CheckpointError(
                f"{path}: wanted names to tensors, got {wrong[0]!r:.80} to a {type(tensors[wrong[0]]).__name__}. Pass "
                "model.state_dict()."
            )
        self.path = path
        self._tensors = tensors
        self.stored = {n: TensorInfo(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}

    def read(self, name: str) -> Any:
        """A copy of one array as numpy; bfloat16, which numpy lacks, comes exactly as float32."""
        tensor = self._tensors[name].detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor.clone()).numpy()

"""State dicts as files of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilebert_core.checkpoints.tensor_info import TensorInfo


class StateDict:
    """A state dict with the face of a weight file; `path` is what messages call it."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path = path
        self._tensors = tensors
        self.stored = {n: TensorInfo(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}

    def read(self, name: str) -> Any:
        """A copy of one array as numpy; bfloat16, which numpy lacks, comes exactly as float32."""
        tensor = self._tensors[name].detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor.clone()).numpy()

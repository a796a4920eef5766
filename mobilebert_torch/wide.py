"""Layers that compute in float32 at least: the heads of a model that powers of two scale for half precision.

They read states as these are stored, and what they give is in the units of the trained model, beyond half precision's
range. In Keras a dtype policy does this.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def wide_dtype(x: Tensor) -> torch.dtype:
    """float32 for half precision, which has too little range for states and scores of this model; else that of x."""
    return torch.float32 if x.element_size() < 4 else x.dtype


def widened(x: Tensor) -> Tensor:
    """Half precision as float32, others as they are."""
    return x.float() if x.element_size() < 4 else x


def may_be_cast(x: Tensor) -> bool:
    """Whether autocast may change the dtype in which a tensor is computed with; on meta PyTorch cannot tell."""
    device = x.device.type
    return not torch.amp.is_autocast_available(device) or torch.is_autocast_enabled(device)


def no_autocast(x: Tensor) -> AbstractContextManager[None]:
    """A context without autocast for the device of a tensor."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()  # in a recorded graph nothing stands for it


class WideLinear(nn.Linear):
    """A dense layer in float32 at least."""

    def forward(self, x: Tensor) -> Tensor:
        x = widened(x)
        with no_autocast(x):
            return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class WideLayerNorm(nn.LayerNorm):
    """A layer norm in float32 at least."""

    def forward(self, x: Tensor) -> Tensor:
        x = widened(x)
        with no_autocast(x):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def make_dense(in_size: int, out_size: int, wide: bool) -> nn.Linear:
    """The dense layer of a head."""
    return WideLinear(in_size, out_size) if wide else nn.Linear(in_size, out_size)

"""Random starts of PyTorch modules, as in the released code, and which modules have their values already."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import ExtraOutput, Gain, LMPredictionHead, NoNorm, Powers, truncated_normal_

# The kinds of modules that MobileBERT consists of. Others, such as convolutions of a user's, keep PyTorch's start.
INITIALIZED = (nn.Linear, nn.Embedding, nn.LayerNorm, NoNorm, Gain, Powers, ExtraOutput, LMPredictionHead)


@torch.no_grad()
def initialize(module: nn.Module, name: str, parameter: Tensor, initializer_range: float) -> None:
    """A matrix from a normal distribution cut at two standard deviations, a bias 0, a norm the identity.

    The padding row of an embedding is 0.
    """
    if name in ("bias", "exponent"):
        nn.init.zeros_(parameter)
    elif isinstance(module, NoNorm | Gain | nn.LayerNorm):
        nn.init.ones_(parameter)
    else:
        truncated_normal_(parameter, initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            parameter[module.padding_idx].zero_()


def has_values(module: nn.Module) -> bool:
    """True for a module that was initialized, or loaded from a file."""
    return getattr(module, "_is_hf_initialized", False)


def keep_values(module: nn.Module) -> None:
    """Says that the module has its values, under the name that transformers and PEFT look for."""
    module._is_hf_initialized = True  # type: ignore[assignment]

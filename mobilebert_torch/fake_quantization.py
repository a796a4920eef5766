"""A PyTorch model that computes with the rounding of int8. What is rounded stands in mobilebert_core/quantization.

Twin: mobilebert_tf/fake_quantization.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mobilebert_core.quantization.integers import LEVELS, SMALLEST_SCALE, WEIGHT_LIMIT
from mobilebert_core.quantization.training import RATE, UNSEEN, Ranges, trained_places


def rounded_activation(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x on LEVELS values between low and high; the gradient is 1 inside of them and 0 outside."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / (LEVELS - 1)).clamp(min=SMALLEST_SCALE)
    zero = torch.clamp(torch.round(-low / scale), 0, LEVELS - 1)
    inside = torch.clamp(x, -zero * scale, (LEVELS - 1 - zero) * scale)
    return inside + (torch.round(inside / scale) * scale - inside).detach()


def rounded_weight(weight: Tensor) -> Tensor:
    """A matrix (out, in) as its integers stand for it; the gradient is 1."""
    fixed = weight.detach()
    pairs = F.pad(fixed, (0, fixed.shape[1] % 2)).unflatten(1, (-1, 2))
    largest = torch.maximum(pairs.clamp(min=0).sum(-1).amax(-1), (-pairs).clamp(min=0).sum(-1).amax(-1))
    scale = (largest / WEIGHT_LIMIT).clamp(min=SMALLEST_SCALE)[:, None]
    return weight + (torch.round(fixed / scale) * scale - fixed)


class FakeQuantization:
    """Makes the dense layers of a model round. Its weights and its state dict stay what they are.

    The ranges move inside `moving`, and stand still outside.
    """

    def __init__(self, model: Any) -> None:
        self._moves = False
        weights = trained_places(model.weight_table())
        layers = {place: model.get_submodule(w.name.removesuffix(".weight")) for place, w in weights.items()}
        self._ranges = {place: torch.tensor(UNSEEN).to(layer.weight) for place, layer in layers.items()}
        for place, layer in layers.items():
            layer.forward = partial(self._dense, layer, self._ranges[place])

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Batches inside the block move the ranges."""
        self._moves = True
        try:
            yield
        finally:
            self._moves = False

    def ranges(self) -> dict[str, np.ndarray]:
        """The lowest and the highest input of each dense layer, (2,)."""
        return {place: found.cpu().numpy().copy() for place, found in self._ranges.items()}

    def assign(self, ranges: Ranges) -> None:
        """Gives ranges new values."""
        for place, found in ranges.items():
            self._ranges[place].copy_(torch.as_tensor(np.asarray(found)))

    def _dense(self, layer: Any, known: Tensor, x: Tensor) -> Tensor:
        now = torch.stack(torch.aminmax(x.detach()))
        current = torch.where(known[0] > known[1], now, known)
        if self._moves:
            current = RATE * current + (1 - RATE) * now
            known.copy_(current)
        return F.linear(rounded_activation(x, *current), rounded_weight(layer.weight), layer.bias)

"""Steps of a block whose gradients are written out: they keep and compute less than autograd would.

They are for training alone, and not taken in forward mode, for which they have no derivative.
B batch, S sequence, T tokens, N heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import products
from .transforms import in_forward_mode


class DroppedProduct(torch.autograd.Function):
    """masked_fill(probs, dropped, 0) @ value: (B, N, S, S) and (B, N, S, D) -> (B, N, S, D).

    For backward `dropped` takes one byte an entry, and the dropped probabilities are computed again. Autograd would
    store both as large as `probs`, which is the largest array of a block.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(probs: Tensor, dropped: Tensor, value: Tensor) -> Tensor:
        return torch.matmul(probs.masked_fill(dropped, 0), value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        probs, dropped, value = ctx.saved_tensors
        of_probs = torch.matmul(gradient, value.mT).masked_fill_(dropped, 0)
        return of_probs, None, torch.matmul(probs.masked_fill(dropped, 0).mT, gradient)


def dropped_product(probs: Tensor, value: Tensor, rate: float) -> Tensor:
    """dropout(probs, rate) @ value, for which backward keeps one byte an entry beside `probs` and `value`.

    Four entries use 16 bits each of one random number, which takes a third of the time of one number each. The rate
    is so rounded to 1/65536, never up to 1, and the kept entries are scaled by the rounded rate.
    """
    # The compiler decides what to keep and what to compute again; a trace knows no views of another type.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or in_forward_mode():
        return torch.matmul(F.dropout(probs, rate), value)
    levels = min(round(rate * 2**16), 2**16 - 1)
    bits = torch.empty(-(-probs.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = (bits.view(torch.int16)[: probs.numel()] < levels - 2**15).view(probs.shape)
    return DroppedProduct.apply(probs, dropped, value * (1.0 / (1.0 - levels / 2**16)))


class DenseNoNorm(torch.autograd.Function):
    """(x @ weight.T + bias + residual) * gain + shift: (T, in) -> (T, out), the residual (T, out) or None.

    NoNorm's gain is folded into the weight matrix, so forward and backward need no extra pass over the activations, and
    the sum is not stored for backward. The gain's own gradient follows from that of the folded matrix.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, residual: Tensor | None
    ) -> Tensor:
        offset = torch.addcmul(shift, bias, gain)
        scaled = weight * gain[:, None]  # (out, in)
        if residual is None:
            return products.linear(x, scaled, offset)
        return products.add_product_(torch.addcmul(offset, residual, gain), x, scaled)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, weight, bias, gain, _, residual = inputs
        ctx.save_for_backward(x, weight, bias, gain, residual)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gain, residual = ctx.saved_tensors
        of_offset = gradient.sum(0)
        of_scaled = products.weight_gradient(gradient, x)  # (out, in)
        of_gain = (of_scaled * weight).sum(1) + of_offset * bias
        if residual is not None:
            of_gain = of_gain + (gradient * residual).sum(0)
        return (
            products.linear(gradient, (weight * gain[:, None]).T) if ctx.needs_input_grad[0] else None,
            of_scaled * gain[:, None],
            of_offset * gain,
            of_gain,
            of_offset,
            gradient * gain if ctx.needs_input_grad[5] else None,
        )

"""Steps of a block whose gradients are written out, because they need less than autograd would keep and do.

They are for training alone: forward-mode differentiation does not know them.
B batch, S sequence, T tokens, N heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class DroppedProduct(torch.autograd.Function):
    """masked_fill(probs, dropped, 0) @ value: (B, N, S, S) and (B, N, S, D) -> (B, N, S, D).

    For the gradient `dropped` takes a byte an entry and the dropped probabilities are made anew. Left to autograd,
    both would be kept as large as `probs`, which is the largest array of a block.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(probs: Tensor, dropped: Tensor, value: Tensor) -> Tensor:
        return torch.matmul(probs.masked_fill(dropped, 0), value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:  # type: ignore[override]
        probs, dropped, value = ctx.saved_tensors
        of_probs = torch.matmul(gradient, value.mT).masked_fill_(dropped, 0)
        return of_probs, None, torch.matmul(probs.masked_fill(dropped, 0).mT, gradient)


def dropped_product(probs: Tensor, value: Tensor, rate: float) -> Tensor:
    """dropout(probs, rate) @ value, of which nothing but a byte an entry is kept beside `probs` and `value`.

    Four entries share one random number of 64 bits, which takes a third of the time of one number each: the rate is
    met to 2**-17, and what is left is scaled by the rate as it is met.
    """
    if torch.compiler.is_compiling():  # the compiler decides by itself what to keep and what to make anew
        return torch.matmul(F.dropout(probs, rate), value)
    levels = round(rate * 2**16)
    bits = torch.empty(-(-probs.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = (bits.view(torch.int16)[: probs.numel()] < levels - 2**15).view(probs.shape)
    return DroppedProduct.apply(probs, dropped, value * (1.0 / (1.0 - levels / 2**16)))


class DenseNoNorm(torch.autograd.Function):
    """(x @ weight.T + bias + residual) * gain + shift: (T, in) -> (T, out), the residual (T, out) or None.

    The gain is multiplied into the weight, which is small, and its gradient read from the weight's: neither way passes
    over the tokens more often than the product and the residual need, and their sum is not kept.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, residual: Tensor | None
    ) -> Tensor:
        offset = torch.addcmul(shift, bias, gain)
        scaled = (weight * gain[:, None]).T  # (in, out)
        if residual is None:
            return torch.addmm(offset, x, scaled)
        return torch.addcmul(offset, residual, gain).addmm_(x, scaled)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, weight, bias, gain, _, residual = inputs
        ctx.save_for_backward(x, weight, bias, gain, residual)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, bias, gain, residual = ctx.saved_tensors
        of_offset = gradient.sum(0)
        of_scaled = torch.mm(gradient.T, x)  # (out, in)
        of_gain = (of_scaled * weight).sum(1) + of_offset * bias
        if residual is not None:
            of_gain = of_gain + (gradient * residual).sum(0)
        return (
            torch.mm(gradient, weight * gain[:, None]) if ctx.needs_input_grad[0] else None,
            of_scaled * gain[:, None],
            of_offset * gain,
            of_gain,
            of_offset,
            gradient * gain if ctx.needs_input_grad[5] else None,
        )

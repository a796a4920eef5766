"""Matrix products of dense layers, by the library of PyTorch's that is quicker on this processor.

PyTorch multiplies float32 with MKL, which uses AVX-512 on processors of Intel alone. oneDNN, which PyTorch contains as
well, uses it on those of AMD too: on a Zen 5 its products of this model take 0.43 to 0.55 of the time of MKL's from
128 rows on (tests/benchmarks/bench_devices.py). PyTorch itself uses it for half precision and in compiled models.
`torch.backends.mkldnn.flags(enabled=False)` turns it off here, too. The two differ by roundings.

For every number of rows oneDNN compiles a kernel, in 1 ms, and keeps it, in 0.5 MB. Rows are therefore cut into pieces
of few lengths, and the last of them are left to MKL.

T tokens; weights lie as (out, in).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .transforms import current_dispatch_mode, in_forward_mode, is_transformed

# From so many on oneDNN is quicker: a call of it takes 10 microseconds more.
_FEWEST_MULTIPLICATIONS = 1_500_000
_LENGTHS = (2048, *range(1024, 0, -128), 64)  # of pieces; the products are little slower than those of all rows


@cache
def onednn_is_quicker() -> bool:
    """Whether PyTorch has both libraries, on a processor on which MKL leaves AVX-512 unused."""
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        str(features.get("cpu_name", "")).startswith("AMD")
        and bool(features.get("avx512_f"))
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but float32 numbers in the memory of the processor."""
    return bool(
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and not is_transformed(tensor)
    )


def takes_onednn(x: Tensor, weight: Tensor, added: Tensor | None = None) -> bool:
    """Whether x @ weight.T is computed by oneDNN: plain float32 tensors, large enough, and nobody records a graph.

    `added` is what is added to it.
    """
    return bool(
        not torch.compiler.is_compiling()
        and onednn_is_quicker()
        and not torch.jit.is_tracing()
        and _is_plain(x)
        and _is_plain(weight)
        and (added is None or _is_plain(added))
        and x.numel() * weight.shape[0] >= _FEWEST_MULTIPLICATIONS
        and x.numel() >= _LENGTHS[-1] * x.shape[-1]
        and x.shape[-1] == weight.shape[-1]
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not in_forward_mode()
        and current_dispatch_mode() is None
    )


def _pieces(rows: int) -> Iterator[slice]:
    """All rows in order; a piece of none of the lengths is the last one, and short."""
    start = 0
    while start < rows:
        length = next((each for each in _LENGTHS if each <= rows - start), rows - start)
        yield slice(start, start + length)
        start += length


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias, (T, in) -> (T, out), for a T of `_pieces`."""
    return _onednn(x, weight, bias) if x.shape[0] in _LENGTHS else F.linear(x, weight, bias)


def _in_pieces(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias: (T, in) -> (T, out)."""
    if x.shape[0] in _LENGTHS:
        return _onednn(x, weight, bias)
    y = x.new_empty(x.shape[0], weight.shape[0])
    for piece in _pieces(x.shape[0]):
        y[piece] = _product(x[piece], weight, bias)
    return y


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., in) -> (..., out)."""
    if not takes_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)  # (T, in)
    y = _Linear.apply(rows, weight, bias) if torch.is_grad_enabled() else _in_pieces(rows, weight, bias)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], y.shape[-1])


def add_product(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """total + x @ weight.T: (T, out)."""
    if takes_onednn(x, weight, total):
        return linear(x, weight).add_(total)
    return torch.addmm(total, x, weight.t())


def add_product_(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """total + x @ weight.T, in place and where no gradient is recorded: (T, out)."""
    if not takes_onednn(x, weight, total):
        return total.addmm_(x, weight.t())
    for piece in _pieces(x.shape[0]):
        total[piece] += _product(x[piece], weight)
    return total


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient.T @ x: (T, out) and (T, in) -> (out, in)."""
    if torch.is_grad_enabled() or not takes_onednn(gradient.t(), x.t()):
        return torch.mm(gradient.t(), x)
    # oneDNN is quicker where the wider one comes second.
    swap = gradient.shape[1] > x.shape[1]
    left, right = (x, gradient) if swap else (gradient, x)
    total = left.new_zeros(left.shape[1], right.shape[1])
    for piece in _pieces(x.shape[0]):
        if piece.stop - piece.start in _LENGTHS:
            total += _onednn(left[piece].t(), right[piece].t(), None)
        else:
            total.addmm_(left[piece].t(), right[piece])
    return total.t() if swap else total


class _Linear(torch.autograd.Function):
    """`_in_pieces` with gradients, which are again products of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_x, for_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if for_weight else None, weight if for_x else None)
        return _in_pieces(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            linear(gradient, weight.t()) if for_x else None,
            weight_gradient(gradient, x) if for_weight else None,
            gradient.sum(0) if for_bias else None,
        )

"""Matrix products of dense layers, by the library of PyTorch's that is quicker on this processor.

PyTorch multiplies float32 with MKL, which uses AVX-512 on processors of Intel alone. oneDNN, which PyTorch contains as
well, uses it on those of AMD too: on a Zen 5 its products of this model take 0.43 to 0.55 of the time of MKL's from
128 rows on (tests/benchmarks/bench_devices.py). PyTorch itself uses it for half precision and in compiled models.
`torch.backends.mkldnn.flags(enabled=False)` turns it off here, too. The two differ by roundings.

T tokens; weights lie as (out, in).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils import _python_dispatch

# From so many on oneDNN is quicker: a call of it takes 10 microseconds more.
_FEWEST_MULTIPLICATIONS = 1_500_000


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


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether x @ weight.T is computed by oneDNN: plain float32 tensors, large enough, and nobody records a graph."""
    return bool(
        not torch.compiler.is_compiling()
        and onednn_is_quicker()
        and not torch.jit.is_tracing()
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * weight.shape[0] >= _FEWEST_MULTIPLICATIONS
        and x.device.type == weight.device.type == "cpu"
        and type(x) in (Tensor, nn.Parameter)
        and type(weight) in (Tensor, nn.Parameter)
        and x.layout == weight.layout == torch.strided
        and x.shape[-1] == weight.shape[-1]
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and not torch._C._functorch.is_functorch_wrapped_tensor(weight)
        and forward_ad._current_level < 0
        and _python_dispatch._get_current_dispatch_mode() is None
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., in) -> (..., out)."""
    if not takes_onednn(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


def add_product(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """total + x @ weight.T: (T, out)."""
    if takes_onednn(x, weight):
        return linear(x, weight).add_(total)
    return torch.addmm(total, x, weight.t())


def add_product_(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """total + x @ weight.T, in place: (T, out)."""
    if takes_onednn(x, weight):
        return total.add_(linear(x, weight))
    return total.addmm_(x, weight.t())


def of_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of a weight, gradient.T @ x: (T, out) and (T, in) -> (out, in)."""
    if gradient.shape[1] > x.shape[1] and takes_onednn(x.t(), gradient.t()):
        return linear(x.t(), gradient.t()).t()  # quicker in oneDNN than the wider one as rows
    return linear(gradient.t(), x.t())


class _Linear(torch.autograd.Function):
    """`linear` with gradients, which are again products of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_x, for_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if for_weight else None, weight if for_x else None)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            linear(gradient, weight.t()) if for_x else None,
            of_weight(rows, x.reshape(-1, x.shape[-1])) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )

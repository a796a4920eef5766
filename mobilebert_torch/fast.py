"""Faster ways through the layers, with the numbers of layers.py.

Each function says when its way may be taken and takes it. `join`, `accumulate` and `dense_relu` return None where it
may not; the layer then computes as it stands. The written-out gradients are in gradients.py.

B batch, S sequence, T tokens, N heads, D head size.
"""

from __future__ import annotations

import inspect
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilebert_core.errors import ConfigError

from . import products
from .gradients import DenseNoNorm, dropped_product
from .transforms import in_forward_mode, is_transformed
from .watched import is_watched
from .wide import may_be_cast, widened


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """True if calling the module is no more than what its class does with its weights.

    False for a subclass or a wrapper (LoRA, quantization), with hooks, with a `forward` of its own, and where a weight
    is a tensor of another class.
    """
    for weight in module._parameters.values():
        if weight is not None and type(weight) not in (Tensor, nn.Parameter):
            return False
    return type(module) is kind and not is_watched(module)


def check_takes_residual(norm: nn.Module, x: Tensor, residual: Tensor) -> None:
    """Raises ConfigError for a module in the place of a gain that does not take the residual beside x."""
    try:
        inspect.signature(norm.forward).bind(x, residual)
    except TypeError:
        raise ConfigError(
            f"{type(norm).__name__} in the place of a LayerNorm: wanted forward(x, residual), got "
            f"forward{inspect.signature(norm.forward)}. A model folded by 'half' has a gain of the residual there: "
            "pass both on, or wrap the norm of a model that is folded otherwise."
        ) from None


def product(dense: nn.Module, x: Tensor) -> Tensor:
    """dense(x), by the quicker library: (..., in) -> (..., out)."""
    if torch.compiler.is_compiling() or not products.onednn_is_quicker():
        return dense(x)
    if not isinstance(dense, nn.Linear) or not is_plain(dense, nn.Linear):
        return dense(x)
    return products.linear(x, dense.weight, dense.bias)


def join(dense: nn.Linear, dropout: nn.Dropout, norm: nn.Module, x: Tensor, residual: Tensor | None) -> Tensor | None:
    """norm(dense(x) + residual) in one step that keeps less for backward: in training without dropout.

    The norm is a NoNorm: scale and shift.
    """
    if (
        not is_plain(dense, nn.Linear)
        or not is_plain(dropout, nn.Dropout)
        or not is_plain(norm, type(norm))
        or dense.bias is None
        or (dropout.p and dropout.training)
        or not torch.is_grad_enabled()
        or x.dtype != dense.weight.dtype
        or may_be_cast(x)
        or torch.compiler.is_compiling()
        or in_forward_mode()
    ):
        return None
    rest = None if residual is None else residual.flatten(0, -2)
    y = DenseNoNorm.apply(x.flatten(0, -2), dense.weight, dense.bias, norm.weight, norm.bias, rest)
    return y.view(*x.shape[:-1], y.shape[-1])


def accumulate(dense: nn.Linear, dropout: nn.Dropout, x: Tensor, residual: Tensor) -> Tensor | None:
    """dense(x) + residual in one product that starts from the residual, where the dense layer has no bias."""
    if (
        not is_plain(dense, nn.Linear)
        or not is_plain(dropout, nn.Dropout)
        or dense.bias is not None
        or (dropout.p and dropout.training)
        or torch.compiler.is_compiling()  # which fuses, and whose graphs runtimes know better as a product and a sum
        or not x.dtype == residual.dtype == dense.weight.dtype
        or may_be_cast(x)
    ):
        return None
    return products.add_product(residual.flatten(0, -2), x.flatten(0, -2), dense.weight).view(residual.shape)


def dense_relu(dense: nn.Module, x: Tensor) -> Tensor | None:
    """relu(dense(x)), the ReLU in place.

    In-place ReLU is safe: the linear output has no other reference. Flatten first, because autograd copies on in-place
    operations on views.
    """
    if not is_plain(dense, nn.Linear):
        return None
    rows = F.relu_(product(dense, x.flatten(0, -2)))
    return rows.view(*x.shape[:-1], rows.shape[-1])


def attention_probs(query: Tensor, key: Tensor, attention_bias: Tensor | None, head_size: int) -> Tensor:
    """softmax(query @ key.T / sqrt(D) + bias): (B, N, S, D) twice -> (B, N, S, S), in float32 or wider.

    Half precision has too little range for the scores of this model: they are computed in float32.
    """
    query, key = widened(query), widened(key)
    scores = torch.matmul(query * (1.0 / math.sqrt(head_size)), key.transpose(-1, -2))
    scores = scores if attention_bias is None else scores + attention_bias
    return torch.softmax(scores, dim=-1)


def needs_wide_scores(x: Tensor) -> bool:
    """Whether the fused kernel would hide tokens by the lowest number of float16, which scores may outweigh.

    Nor is that number low enough for a row without any token to be uniform, as it is in float32. Graphs of other
    runtimes, which are recorded on the CPU, would compute the scores themselves in float16. GPUs keep their kernel.
    """
    return x.dtype == torch.float16 and x.device.type == "cpu"


def attend(
    query: Tensor, key: Tensor, value: Tensor, attention_bias: Tensor | None, head_size: int, rate: float
) -> Tensor:
    """dropout(attention_probs, rate) @ value by PyTorch's fused kernel, where the probabilities are not returned.

    The kernel of the CPU has no dropout, and what PyTorch does instead costs more time and memory than
    `dropped_product`. Nor has it derivatives in forward mode, which the transforms of torch.func may ask for.
    """
    compiling = torch.compiler.is_compiling()  # which cannot trace the question
    transformed = not compiling and (in_forward_mode() or is_transformed(query))
    if transformed and not rate:
        return torch.matmul(attention_probs(query, key, attention_bias, head_size).to(value.dtype), value)
    if 0 < rate < 1 and query.device.type == "cpu":
        return dropped_product(attention_probs(query, key, attention_bias, head_size).to(value.dtype), value, rate)
    bias = attention_bias
    if bias is not None:
        if needs_wide_scores(query):
            return torch.matmul(attention_probs(query, key, bias, head_size).to(value.dtype), value)
        bias = bias.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate)

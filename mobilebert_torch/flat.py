"""The blocks of a model that is folded by "all", as one function over its weights.

It has the numbers of attention.py, layers.py and modeling.py without their calls, checks and copies, which on short
texts take as long as the products. Only where no gradient is recorded, so that sums may be made in place, and where
nobody looks between the layers.

B batch, S sequence, T tokens (B * S), H hidden, W width inside a block, N heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import products
from .attention import JointAttention, JointSelfAttention
from .fast import is_plain, needs_wide_scores
from .layers import BlockOutput, DenseNorm, FeedForward, Intermediate, NoNorm
from .transforms import is_transformed
from .watched import is_every_module_watched
from .wide import may_be_cast

Norm = tuple[Tensor, Tensor] | None  # gain and shift


@dataclass(frozen=True)
class _Block:
    """The weights of a block, and what its attention is cut into."""

    sizes: Sequence[int]
    heads: tuple[int, int]  # N, D
    projection: tuple[Tensor, Tensor]
    attention: tuple[Tensor, Norm]
    networks: Sequence[tuple[Tensor, Tensor, Tensor, Norm]]
    bottleneck: tuple[Tensor, Norm] | None
    state: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Plan:
    """The blocks of an encoder as they were found, and what shows that they are still so."""

    blocks: Sequence[_Block]
    seen: Sequence[tuple[dict[str, Any], tuple[Any, ...]]]  # attributes of each module, and its weights and parts

    def holds(self) -> bool:
        """True while every module has its weights and parts, and no hook or `forward` of its own."""
        for own, held in self.seen:
            if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
                return False
            if own["_backward_hooks"] or own["_backward_pre_hooks"] or own["training"]:
                return False
            now = (*own["_parameters"].values(), *own["_modules"].values())
            if len(now) != len(held) or not all(map(is_, now, held)):
                return False
        return True


_PLANS: WeakKeyDictionary[nn.Module, _Plan | None] = WeakKeyDictionary()


def encoded(
    layers: nn.ModuleList,
    kind: type[nn.Module],
    x: Tensor,
    attention_bias: Tensor | None,
    select: Callable[[Tensor], Tensor] | None,
) -> Tensor | None:
    """The last state in the units of the trained model, (B, S, H) or (tokens, H) with `select`; None where it may not.

    `layers` are the blocks of a model folded by "all", whose attention returns no probabilities; `kind` is their class.
    """
    if (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or type(x) is not Tensor
        or is_transformed(x)
        or may_be_cast(x)
        or is_every_module_watched()
        or (attention_bias is not None and needs_wide_scores(x))
    ):
        return None
    plan = _PLANS.get(layers)
    if plan is None or not plan.holds():
        plan = _PLANS[layers] = _plan(layers, kind)
    if plan is None or x.dtype != plan.blocks[0].projection[0].dtype:
        return None
    bias = attention_bias
    if bias is not None:
        bias = bias.clamp(min=torch.finfo(x.dtype).min).to(x.dtype)
        bias = bias if x.device.type != "cpu" or bias.any() else None  # nothing is hidden
    batch, length, hidden = x.shape
    rows = x.flatten(0, 1)  # (T, H)
    for index, block in enumerate(plan.blocks):
        attended = _attended(block, rows, bias, batch, length)  # (T, W)
        if select is not None and index == len(plan.blocks) - 1:
            attended, rows = select(attended.view(batch, length, -1)), select(rows.view(batch, length, hidden))
        inner = _inner(block, attended)
        if block.bottleneck is None:
            rows = inner
        else:
            weight, norm = block.bottleneck
            # The first residual is the embeddings', which the caller may return.
            rows = (products.add_product if index == 0 else products.add_product_)(rows, inner, weight)
            rows = _normed(rows, norm)
    scale, offset = plan.blocks[-1].state
    rows = torch.addcmul(offset, rows, scale)
    return rows if select is not None else rows.view(batch, length, hidden)


def _attended(block: _Block, rows: Tensor, bias: Tensor | None, batch: int, length: int) -> Tensor:
    """Attention and its sum with the residual: (T, H) -> (T, W)."""
    heads, size = block.heads
    *residual, query, key, value = products.linear(rows, *block.projection).split(block.sizes, dim=-1)
    q, k, v = (part.view(batch, length, heads, size).transpose(1, 2) for part in (query, key, value))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(rows.shape[0], -1)
    weight, norm = block.attention
    return _normed(products.add_product(residual[0] if residual else rows, context, weight), norm)


def _inner(block: _Block, rows: Tensor) -> Tensor:
    """The feed-forward networks: (T, W) -> (T, W), in place."""
    for weight, bias, back, norm in block.networks:
        rows = _normed(products.add_product_(rows, products.linear(rows, weight, bias).relu_(), back), norm)
    return rows


def _normed(rows: Tensor, norm: Norm) -> Tensor:
    return rows if norm is None else torch.addcmul(norm[1], rows, norm[0])


def _plan(layers: nn.ModuleList, kind: type[nn.Module]) -> _Plan | None:
    """The plan of these blocks; None where one of their modules is not what its class is here."""
    modules = [module for layer in layers for module in layer.modules()]
    known = all(type(layer) is kind for layer in layers)
    known = known and all(type(module) in _KINDS or type(module) is kind for module in modules)
    plain = known and all(is_plain(module, type(module)) for module in modules)
    relu = plain and all(m.activation is F.relu for m in modules if isinstance(m, Intermediate))
    if not relu or any(module.training for module in modules):
        return None
    seen = [(vars(m), (*m._parameters.values(), *m._modules.values())) for m in (layers, *modules)]
    return _Plan([_block(layer) for layer in layers], seen) if layers else None


_KINDS = (
    JointAttention, JointSelfAttention, DenseNorm, BlockOutput, FeedForward, Intermediate, NoNorm, nn.Linear,
    nn.Dropout, nn.ModuleList,
)  # fmt: skip


def _block(layer: Any) -> _Block:
    attention, output = layer.attention.self, layer.output
    networks = [*layer.ffn, layer]
    return _Block(
        attention.sizes if layer.use_bottleneck else attention.sizes[1:],
        (attention.num_attention_heads, attention.attention_head_size),
        (attention.projection.weight, attention.projection.bias),
        (layer.attention.output.dense.weight, _norm(layer.attention.output)),
        [
            (n.intermediate.dense.weight, n.intermediate.dense.bias, n.output.dense.weight, _norm(n.output))
            for n in networks
        ],
        (output.bottleneck.dense.weight, _norm(output.bottleneck)) if layer.use_bottleneck else None,
        (layer.state.weight, layer.state.bias),
    )


def _norm(module: DenseNorm) -> Norm:
    norm = module.LayerNorm
    return None if norm is None else (norm.weight, norm.bias)  # type: ignore[return-value]  # a NoNorm

"""Self-attention in PyTorch. The bricks take plain numbers and know no configuration.

B batch, S sequence, H hidden, W width inside a block, N heads, D head size, R residual.
Twin: mobilebert_tf/attention.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import fast
from .layers import DenseNorm


class SelfAttention(nn.Module):
    """Scaled dot-product attention of N heads over a query source and a value source.

    `need_probs` takes the explicit path, which returns the probabilities (B, N, S, S) after dropout and head
    mask; otherwise they are None, and `fast.attend` computes the same context.
    """

    def __init__(self, query_size: int, value_size: int, num_heads: int, head_size: int, dropout: float) -> None:
        super().__init__()
        self.num_attention_heads = num_heads
        self.attention_head_size = head_size
        self.query = nn.Linear(query_size, num_heads * head_size)
        self.key = nn.Linear(query_size, num_heads * head_size)
        self.value = nn.Linear(value_size, num_heads * head_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: Tensor, value: Tensor, attention_bias: Tensor | None, head_mask: Tensor | None, need_probs: bool
    ) -> tuple[Tensor, ...]:
        projected = fast.product(self.query, query), fast.product(self.key, query), fast.product(self.value, value)
        return self.attend(*projected, attention_bias, head_mask, need_probs)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_bias: Tensor | None,
        head_mask: Tensor | None,
        need_probs: bool,
    ) -> tuple[Tensor, ...]:
        """The context of projected queries, keys and values, (B, S, N * D) each, and the probabilities if asked."""
        q, k, v = self._split(query), self._split(key), self._split(value)  # (B, N, S, D)
        if not need_probs and fast.is_plain(self.dropout, nn.Dropout):
            rate = self.dropout.p if self.dropout.training else 0.0
            context = fast.attend(q, k, v, attention_bias, self.attention_head_size, rate)
            return (self._merged(context if head_mask is None else context * head_mask),)
        probs = fast.attention_probs(q, k, attention_bias, self.attention_head_size).to(v.dtype)
        probs = self.dropout(probs)
        probs = probs if head_mask is None else probs * head_mask
        return self._merged(torch.matmul(probs, v)), *([probs] if need_probs else ())

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_attention_heads, self.attention_head_size)).transpose(1, 2)

    def _merged(self, context: Tensor) -> Tensor:
        return context.transpose(1, 2).flatten(2)  # (B, S, N * D)


class Attention(nn.Module):
    """Self-attention and its output projection onto a residual of width W."""

    def __init__(
        self,
        query_size: int,
        value_size: int,
        width: int,
        num_heads: int,
        head_size: int,
        attention_dropout: float,
        hidden_dropout: float,
        normalization_type: str,
        eps: float,
    ) -> None:
        super().__init__()
        self.self = SelfAttention(query_size, value_size, num_heads, head_size, attention_dropout)
        self.output = DenseNorm(num_heads * head_size, width, normalization_type, eps, hidden_dropout)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        residual: Tensor,
        attention_bias: Tensor | None,
        head_mask: Tensor | None,
        need_probs: bool,
    ) -> tuple[Tensor, ...]:
        context, *probs = self.self(query, value, attention_bias, head_mask, need_probs)
        return self.output(context, residual), *probs


class JointSelfAttention(SelfAttention):
    """Self-attention whose projections are one dense layer, which also gives the residual (R features, or 0)."""

    def __init__(self, hidden_size: int, residual_size: int, num_heads: int, head_size: int, dropout: float) -> None:
        nn.Module.__init__(self)
        self.num_attention_heads = num_heads
        self.attention_head_size = head_size
        self.sizes = [residual_size, *[num_heads * head_size] * 3]
        self.projection = nn.Linear(hidden_size, sum(self.sizes))
        self.dropout = nn.Dropout(dropout)

    def forward(  # type: ignore[override]
        self, x: Tensor, attention_bias: Tensor | None, head_mask: Tensor | None, need_probs: bool
    ) -> tuple[Tensor, ...]:
        residual, query, key, value = fast.product(self.projection, x).split(self.sizes, dim=-1)
        return *self.attend(query, key, value, attention_bias, head_mask, need_probs), residual


class JointAttention(nn.Module):
    """Self-attention and its output projection where all norms are folded: (B, S, H) -> (B, S, W)."""

    def __init__(
        self,
        hidden_size: int,
        width: int,
        num_heads: int,
        head_size: int,
        attention_dropout: float,
        hidden_dropout: float,
        use_bottleneck: bool,
        normalization_type: str,
        eps: float,
    ) -> None:
        super().__init__()
        residual_size = width if use_bottleneck else 0
        self.self = JointSelfAttention(hidden_size, residual_size, num_heads, head_size, attention_dropout)
        self.output = DenseNorm(num_heads * head_size, width, normalization_type, eps, hidden_dropout)
        self.use_bottleneck = use_bottleneck

    def forward(
        self, x: Tensor, attention_bias: Tensor | None, head_mask: Tensor | None, need_probs: bool
    ) -> tuple[Tensor, ...]:
        context, *probs, residual = self.self(x, attention_bias, head_mask, need_probs)
        return self.output(context, residual if self.use_bottleneck else x), *probs

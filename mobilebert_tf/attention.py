"""Self-attention in Keras 3. The bricks take plain numbers and know no configuration.

B batch, S sequence, T tokens, H hidden, W width inside a block, N heads, D head size, R residual.
Twin: mobilebert_torch/attention.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
from keras import ops

from .brick import Brick
from .layers import DenseNorm
from .policies import widened
from .serialization import serializable


@serializable
class SelfAttention(Brick):
    """Scaled dot-product attention of N heads over a query source and a value source.

    Takes (T, size) and returns the context (T, N * D) and the probabilities (B, N, S, S) after dropout and head
    mask. There is one path: on TensorFlow `keras.ops.dot_product_attention` computes the same at the same speed.
    """

    def __init__(
        self,
        query_size: int,
        value_size: int,
        num_heads: int,
        head_size: int,
        dropout: float,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_attention_heads = num_heads
        self.attention_head_size = head_size
        for name, size in (("query", query_size), ("key", query_size), ("value", value_size)):
            self.dense_part(name, size, num_heads * head_size, initializer)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def call(
        self,
        query: Any,
        value: Any,
        attention_bias: Any = None,
        head_mask: Any = None,
        length: Any = -1,
        training: bool = False,
    ) -> Any:
        projected = self.query(query), self.key(query), self.value(value)
        return self.attend(*projected, attention_bias, head_mask, length, training)

    def attend(
        self, query: Any, key: Any, value: Any, attention_bias: Any, head_mask: Any, length: Any, training: bool
    ) -> Any:
        """The context of projected queries, keys and values, (T, N * D) each, and the probabilities."""
        q, k, v = self._split(query, length), self._split(key, length), self._split(value, length)  # (B, N, S, D)
        # Half precision has too little range for the scores of this model: they are computed in float32.
        q, k = widened(q), widened(k)
        scores = ops.matmul(q * (1.0 / math.sqrt(self.attention_head_size)), ops.transpose(k, (0, 1, 3, 2)))
        scores = scores if attention_bias is None else scores + attention_bias
        # Of a single token nothing is left to divide, and Keras would warn.
        probs = ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)
        probs = ops.cast(probs, v.dtype)
        probs = self.dropout(probs, training=training)
        probs = probs if head_mask is None else probs * head_mask
        context = ops.transpose(ops.matmul(probs, v), (0, 2, 1, 3))  # (B, S, N, D)
        return ops.reshape(context, (-1, self.num_attention_heads * self.attention_head_size)), probs

    def _split(self, x: Any, length: Any) -> Any:
        x = ops.reshape(x, (-1, length, self.num_attention_heads, self.attention_head_size))
        return ops.transpose(x, (0, 2, 1, 3))


@serializable
class Attention(Brick):
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
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = (query_size, value_size, num_heads, head_size, attention_dropout)
        output_sizes = (num_heads * head_size, width, normalization_type, eps, hidden_dropout)
        self._set_parts(SelfAttention, sizes, output_sizes, initializer)

    def _set_parts(
        self,
        self_attention: type[SelfAttention],
        sizes: tuple[Any, ...],
        output_sizes: tuple[Any, ...],
        initializer: Any,
    ) -> None:
        made = {"initializer": initializer, "dtype": self.dtype_policy}
        self.part("self", self_attention(*sizes, name="self", **made))
        self.part("output_", DenseNorm(*output_sizes, name="output", **made))

    def call(
        self,
        query: Any,
        value: Any,
        residual: Any,
        attention_bias: Any = None,
        head_mask: Any = None,
        length: Any = -1,
        training: bool = False,
    ) -> Any:
        context, probs = self.self(query, value, attention_bias, head_mask, length=length, training=training)
        return self.output_(context, residual, training=training), probs


@serializable
class JointSelfAttention(SelfAttention):
    """Self-attention whose projections are one dense layer, which also gives the residual (R features, or 0)."""

    def __init__(
        self,
        hidden_size: int,
        residual_size: int,
        num_heads: int,
        head_size: int,
        dropout: float,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        Brick.__init__(self, **kwargs)
        self.num_attention_heads = num_heads
        self.attention_head_size = head_size
        self.sizes = [residual_size, *[num_heads * head_size] * 3]
        self.dense_part("projection", hidden_size, sum(self.sizes), initializer)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def call(  # type: ignore[override]
        self, x: Any, attention_bias: Any = None, head_mask: Any = None, length: Any = -1, training: bool = False
    ) -> Any:
        ends = list(itertools.accumulate(self.sizes))
        residual, query, key, value = ops.split(self.projection(x), ends[:-1], axis=-1)
        return *self.attend(query, key, value, attention_bias, head_mask, length, training), residual


@serializable
class JointAttention(Attention):
    """Self-attention and its output projection where all norms are folded: (T, H) -> (T, W)."""

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
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        Brick.__init__(self, **kwargs)
        sizes = (hidden_size, width if use_bottleneck else 0, num_heads, head_size, attention_dropout)
        output_sizes = (num_heads * head_size, width, normalization_type, eps, hidden_dropout)
        self._set_parts(JointSelfAttention, sizes, output_sizes, initializer)
        self.use_bottleneck = use_bottleneck

    def call(  # type: ignore[override]
        self, x: Any, attention_bias: Any = None, head_mask: Any = None, length: Any = -1, training: bool = False
    ) -> Any:
        context, probs, residual = self.self(x, attention_bias, head_mask, length=length, training=training)
        return self.output_(context, residual if self.use_bottleneck else x, training=training), probs

"""The bricks of MobileBERT in Keras 3. They take plain numbers and know no configuration.

B batch, S sequence, T tokens, H hidden, W width inside a block, F feed-forward, N heads, D head size.
Twin: mobilebert_torch/layers.py. Attributes that Keras refuses are renamed as the table of weights says.

Every brick builds its parts from sizes it was passed, so that weights exist before the first call. Bricks
that only pass arrays on do not autocast: the mask must keep its float32 range under mixed precision.

Inside the blocks all tokens of a batch lie in one axis, T = B * S: TensorFlow spends some fifteen graph
operations on a dense layer over three axes and two on one over two axes. Attention, which alone needs to know
where a text ends, takes the `length` S.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from mobilebert_core.configuration.fields import FOLDED, GAIN, KEPT

from .brick import Brick
from .serialization import serializable


# TensorFlow's own gelu rounds its constants to float32, also for float64.
def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + ops.erf(x * (1.0 / math.sqrt(2.0))))


def _gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": ops.silu,
    "tanh": ops.tanh,
}


@serializable
class NoNorm(keras.layers.Layer):
    """Scale and shift per feature, which takes the place of layer norm (paper, section 3.4.3): (..., width)."""

    def build(self, input_shape: Any) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x * self.gamma + self.beta

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # Keras takes no other layer for one that it can make again


@serializable
class Gain(keras.layers.Layer):
    """Adds a residual times a gain for each feature: (..., width) twice -> (..., width)."""

    def build(self, input_shape: Any) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")

    def call(self, x: Any, residual: Any) -> Any:
        return x + residual * self.gamma

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # as in NoNorm


def make_norm(normalization_type: str, eps: float, dtype: Any, name: str = "LayerNorm") -> keras.layers.Layer | None:
    """What `MobileBertConfig.norm_at` says; only a layer norm has an epsilon, and a folded norm is None."""
    if normalization_type == FOLDED:
        return None
    if normalization_type == GAIN:
        return Gain(dtype=dtype, name=name)
    if normalization_type == "layer_norm":
        return keras.layers.LayerNormalization(epsilon=eps, dtype=dtype, name=name)
    return NoNorm(dtype=dtype, name=name)


@serializable
class Powers(keras.layers.Layer):
    """States in the units of the trained model, of those that are kept smaller: x * 2**exponent, (..., width).

    Made with a policy of float32 at least.
    """

    def build(self, input_shape: Any) -> None:
        self.exponent = self.add_weight(name="exponent", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        return x * ops.power(ops.cast(2.0, x.dtype), ops.cast(self.exponent, x.dtype))

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # as in NoNorm


@serializable
class DenseNorm(Brick):
    """norm(dropout(dense(x)) + residual): how every branch of a block joins its residual.

    In a folded model a dense layer that joins a residual has no bias, and the norm may be gone; or the norm is in the
    dense layer and a gain of the residual.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        normalization_type: str,
        eps: float,
        dropout: float = 0.0,
        joins: bool = True,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        bias = not joins or normalization_type not in (FOLDED, KEPT)
        self.dense_part("dense", in_size, out_size, initializer, bias)
        self.part("LayerNorm", make_norm(normalization_type, eps, self.dtype_policy), out_size)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.gains = normalization_type == GAIN

    def call(self, x: Any, residual: Any = None, training: bool = False) -> Any:
        x = self.dropout(self.dense(x), training=training)
        if self.gains and residual is not None:
            return self.LayerNorm(x, residual)
        x = x if residual is None else x + ops.cast(residual, x.dtype)  # policies may differ from layer to layer
        return x if self.LayerNorm is None else self.LayerNorm(x)


@serializable
class Intermediate(Brick):
    """act(dense(x)): (T, W) -> (T, F)."""

    def __init__(self, width: int, intermediate_size: int, activation: str, *, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense_part("dense", width, intermediate_size, initializer)
        self.activation = ACTIVATIONS[activation]

    def call(self, x: Any) -> Any:
        return self.activation(self.dense(x))


@serializable
class FeedForward(Brick):
    """One of the stacked feed-forward networks inside a block: (T, W) -> (T, W)."""

    def __init__(
        self,
        width: int,
        intermediate_size: int,
        activation: str,
        normalization_type: str,
        eps: float,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        made = {"initializer": initializer, "dtype": self.dtype_policy}
        self.part("intermediate", Intermediate(width, intermediate_size, activation, name="intermediate", **made))
        self.part("output_", DenseNorm(intermediate_size, width, normalization_type, eps, name="output", **made))

    def call(self, x: Any) -> Any:
        return self.output_(self.intermediate(x), x)


@serializable
class BlockOutput(DenseNorm):
    """The last feed-forward network's output; with a bottleneck also the way back from W to H.

    The first residual is the attention's output, the second the block's input.
    """

    def __init__(
        self,
        intermediate_size: int,
        width: int,
        hidden_size: int,
        use_bottleneck: bool,
        normalization_type: str,
        bottleneck_type: str,
        eps: float,
        hidden_dropout: float,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        inner_dropout = 0.0 if use_bottleneck else hidden_dropout
        super().__init__(
            intermediate_size, width, normalization_type, eps, inner_dropout, initializer=initializer, **kwargs
        )
        if use_bottleneck:
            bottleneck = DenseNorm(
                width,
                hidden_size,
                bottleneck_type,
                eps,
                hidden_dropout,
                initializer=initializer,
                dtype=self.dtype_policy,
                name="bottleneck",
            )
            self.part("bottleneck", bottleneck)

    def call(  # type: ignore[override]
        self, x: Any, residual: Any, block_input: Any, training: bool = False
    ) -> Any:
        x = super().call(x, residual, training=training)  # (T, W)
        return self.bottleneck(x, block_input, training=training) if hasattr(self, "bottleneck") else x


@serializable
class Bottleneck(Brick):
    """The way into a block: H -> W, once for the residual and, if shared, once for query and key.

    Returns the inputs of query and key, of value, and the residual. With `for_all` one is all three.
    """

    def __init__(
        self,
        hidden_size: int,
        width: int,
        shared: bool,
        for_all: bool,
        normalization_type: str,
        eps: float,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.for_all = for_all
        made = {"initializer": initializer, "dtype": self.dtype_policy}
        sizes = (hidden_size, width, normalization_type, eps)
        self.part("input_", DenseNorm(*sizes, joins=False, name="input", **made))
        if shared:
            self.part("attention", DenseNorm(*sizes, joins=False, name="attention", **made))

    def call(self, x: Any) -> tuple[Any, Any, Any]:
        squeezed = self.input_(x)  # (T, W)
        if self.for_all:
            return squeezed, squeezed, squeezed
        return self.attention(x) if hasattr(self, "attention") else x, x, squeezed


@serializable
class Pooler(Brick):
    """The first token's state (B, H), through a dense layer and tanh if `activate`."""

    def __init__(self, hidden_size: int, activate: bool, *, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if activate:
            self.dense_part("dense", hidden_size, hidden_size, initializer)

    def call(self, x: Any) -> Any:
        first = x[:, 0]
        return ops.tanh(self.dense(first)) if hasattr(self, "dense") else first


@serializable
class PredictionTransform(Brick):
    """layer_norm(act(dense(x))): always a true layer norm, whatever the blocks use."""

    def __init__(self, hidden_size: int, activation: str, eps: float, *, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense_part("dense", hidden_size, hidden_size, initializer)
        self.activation = ACTIVATIONS[activation]
        self.part("LayerNorm", make_norm("layer_norm", eps, self.dtype_policy), hidden_size)

    def call(self, x: Any) -> Any:
        return self.LayerNorm(self.activation(self.dense(x)))


@serializable
class LMPredictionHead(Brick):
    """Scores for every word: (..., H) -> (..., V).

    The output matrix is the word embeddings (V, E) beside `dense` (H - E, V). Each multiplies its own part of
    the features, so that the two are never joined in memory. `decoder` is the embedding layer it reads: the
    model's own word embeddings when they are tied, with its LoRA. Of a quantized one every word is looked up.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int,
        activation: str,
        eps: float,
        decoder: keras.layers.Embedding | None,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=True, **kwargs)
        made = {"initializer": initializer, "dtype": self.dtype_policy}
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.part("transform", PredictionTransform(hidden_size, activation, eps, name="transform", **made))
        self.dense_part("dense", hidden_size - embedding_size, vocab_size, initializer, use_bias=False)
        if decoder is None:
            decoder = keras.layers.Embedding(
                vocab_size, embedding_size, embeddings_initializer=initializer, dtype=self.dtype_policy, name="decoder"
            )
        self.part("decoder", decoder, embedding_size)

    def build(self, input_shape: Any = None) -> None:
        super().build()
        self.bias = self.add_weight(name="bias", shape=(self.vocab_size,), initializer="zeros")

    def call(self, x: Any) -> Any:
        x = self.transform(x)
        own, rest = x[..., : self.embedding_size], x[..., self.embedding_size :]
        words = self.decoder(ops.arange(self.vocab_size)) if self.decoder.quantization_mode else self.decoder.embeddings
        words = ops.cast(ops.convert_to_tensor(words), own.dtype)
        logits = ops.matmul(own, ops.transpose(words)) + self.bias
        return logits if rest.shape[-1] == 0 else logits + self.dense(rest)

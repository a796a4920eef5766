"""The bricks of MobileBERT in PyTorch. They take plain numbers and know no configuration.

B batch, S sequence, H hidden, W width inside a block, F feed-forward, N heads, D head size.
Twin: mobilebert_tf/layers.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilebert_core.configuration.fields import FOLDED, GAIN, KEPT

from . import fast
from .watched import is_watched
from .wide import WideLayerNorm, make_dense, widened

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
}


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fills with a normal distribution cut at two standard deviations."""
    return nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std) if tensor.numel() else tensor


class NoNorm(nn.Module):
    """Scale and shift per feature, which takes the place of layer norm (paper, section 3.4.3): (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight)


class Gain(nn.Module):
    """Adds a residual times a gain for each feature: (..., width) twice -> (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return torch.addcmul(x, residual, self.weight)


def make_norm(normalization_type: str, width: int, eps: float) -> NoNorm | Gain | nn.LayerNorm | None:
    """What `MobileBertConfig.norm_at` says; only a layer norm has an epsilon, and a folded norm is None."""
    if normalization_type == FOLDED:
        return None
    if normalization_type == GAIN:
        return Gain(width)
    return nn.LayerNorm(width, eps=eps) if normalization_type == "layer_norm" else NoNorm(width)


class Powers(nn.Module):
    """States in the units of the trained model, of those that are kept smaller: x * 2**exponent, (..., width).

    In float32 at least.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.zeros(width), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = widened(x)
        return torch.ldexp(x, self.exponent.to(x.dtype))


class DenseNorm(nn.Module):
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
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(in_size, out_size, bias=not joins or normalization_type not in (FOLDED, KEPT))
        self.LayerNorm = make_norm(normalization_type, out_size, eps)
        self.dropout = nn.Dropout(dropout)
        self.gains = normalization_type == GAIN

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.training and type(self.LayerNorm) is NoNorm:
            y = fast.join(self.dense, self.dropout, self.LayerNorm, x, residual)
            if y is not None:
                return y
        y = None if residual is None else fast.accumulate(self.dense, self.dropout, x, residual)
        if y is None:
            y = self.dropout(fast.product(self.dense, x))
            if self.gains and self.LayerNorm is not None and residual is not None:
                if type(self.LayerNorm) is not Gain:
                    fast.check_takes_residual(self.LayerNorm, y, residual)
                return self.LayerNorm(y, residual)
            y = y if residual is None else y + residual
        return y if self.LayerNorm is None else self.LayerNorm(y)


class Intermediate(nn.Module):
    """act(dense(x)): (B, S, W) -> (B, S, F)."""

    def __init__(self, width: int, intermediate_size: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(width, intermediate_size)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        y = fast.dense_relu(self.dense, x) if self.activation is F.relu else None
        return self.activation(fast.product(self.dense, x)) if y is None else y


class FeedForward(nn.Module):
    """One of the stacked feed-forward networks inside a block: (B, S, W) -> (B, S, W)."""

    def __init__(
        self, width: int, intermediate_size: int, activation: str, normalization_type: str, eps: float
    ) -> None:
        super().__init__()
        self.intermediate = Intermediate(width, intermediate_size, activation)
        self.output = DenseNorm(intermediate_size, width, normalization_type, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)


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
    ) -> None:
        super().__init__(intermediate_size, width, normalization_type, eps, 0.0 if use_bottleneck else hidden_dropout)
        if use_bottleneck:
            self.bottleneck = DenseNorm(width, hidden_size, bottleneck_type, eps, hidden_dropout)

    def forward(self, x: Tensor, residual: Tensor, block_input: Tensor) -> Tensor:  # type: ignore[override]
        x = super().forward(x, residual)  # (B, S, W)
        return self.bottleneck(x, block_input) if hasattr(self, "bottleneck") else x


class Bottleneck(nn.Module):
    """The way into a block: H -> W, once for the residual and, if shared, once for query and key.

    Returns the inputs of query and key, of value, and the residual. With `for_all` one is all three.
    """

    def __init__(
        self, hidden_size: int, width: int, shared: bool, for_all: bool, normalization_type: str, eps: float
    ) -> None:
        super().__init__()
        self.for_all = for_all
        self.input = DenseNorm(hidden_size, width, normalization_type, eps, joins=False)
        if shared:
            self.attention = DenseNorm(hidden_size, width, normalization_type, eps, joins=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        squeezed = self.input(x)  # (B, S, W)
        if self.for_all:
            return squeezed, squeezed, squeezed
        return self.attention(x) if hasattr(self, "attention") else x, x, squeezed


class Pooler(nn.Module):
    """The first token's state (B, H), through a dense layer and tanh if `activate`; `wide` in float32 at least."""

    def __init__(self, hidden_size: int, activate: bool, wide: bool = False) -> None:
        super().__init__()
        if activate:
            self.dense = make_dense(hidden_size, hidden_size, wide)

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, 0]
        return torch.tanh(self.dense(first)) if hasattr(self, "dense") else first


class PredictionTransform(nn.Module):
    """layer_norm(act(dense(x))): always a true layer norm, whatever the blocks use."""

    def __init__(self, hidden_size: int, activation: str, eps: float, wide: bool = False) -> None:
        super().__init__()
        self.dense = make_dense(hidden_size, hidden_size, wide)
        self.activation = ACTIVATIONS[activation]
        self.LayerNorm = WideLayerNorm(hidden_size, eps=eps) if wide else nn.LayerNorm(hidden_size, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(x)))


class ExtraOutput(nn.Module):
    """The output matrix beyond the word embeddings, (features, V): adds its part of (T, features) to the logits.

    In place: logits are by far the largest array of the model, and two of them need not exist.
    """

    def __init__(self, features: int, vocab_size: int) -> None:
        super().__init__()
        self.empty = features == 0
        self.weight = nn.Parameter(torch.zeros(features, vocab_size))

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        if self.empty:
            return logits
        return logits.addmm_(x.to(logits.dtype), self.weight.to(logits.dtype))  # autocast leaves it alone


class LMPredictionHead(nn.Module):
    """Scores for every word: (..., H) -> (..., V).

    The output matrix is the word embeddings (V, E) beside `dense` (H - E, V). Each multiplies its own part of the
    features, so that the two are never joined in memory. `wide` computes in float32 at least. The sum is made in
    place, but where a hook may have kept what the decoder gave.
    """

    def __init__(
        self, vocab_size: int, embedding_size: int, hidden_size: int, activation: str, eps: float, wide: bool = False
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.transform = PredictionTransform(hidden_size, activation, eps, wide)
        self.dense = ExtraOutput(hidden_size - embedding_size, vocab_size)
        self.decoder = make_dense(embedding_size, vocab_size, wide)
        self.decoder.bias = self.bias
        self.embedding_size = embedding_size

    def forward(self, x: Tensor) -> Tensor:
        features = self.transform(x).flatten(0, -2)  # (T, H)
        own, rest = features[:, : self.embedding_size], features[:, self.embedding_size :]
        words = fast.product(self.decoder, own)
        kept = is_watched(self.decoder) or is_watched(self.dense)
        logits = self.dense(rest, words.clone() if kept else words)
        return logits.view(*x.shape[:-1], logits.shape[-1])

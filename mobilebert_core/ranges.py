"""How large each feature of a model's states becomes on a batch: its forward pass in numpy, which keeps only that.

Scales for number formats of small range are chosen from it, the same ones in every framework. Numbers of float32 are
exact enough for that; so is tanh's gelu for the other one.

B batch, S sequence, T tokens (B * S), N heads, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .configuration.config import MobileBertConfig
from .configuration.fields import ACTIVATIONS
from .errors import ConfigError
from .weight_rows import BASE_PREFIX
from .weights import feedforward_networks

Read = Callable[[str], np.ndarray]
# Exponents of two in the basis "half". float16 ends at 2**16 and has all its digits down to 2**-14.
PEAK = 11  # no value of the calibration batch is stored above: room for 32 times as much in other texts
LARGEST_WEIGHT = 15  # no weight is stored above
USUAL = -6  # where a usual value lies at most, so that weights that lead from large features to small ones keep digits


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "gelu": _gelu,
    "gelu_tanh": _gelu,
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "tanh": np.tanh,
}


@dataclass
class Range:
    """The range of one array on a batch, for each feature, as exponents of two.

    Attributes:
        peak: every value lies below 2**peak, and where a residual is added, what is added to it as well.
        usual: the mean over the values that are not 0; NaN where there is none.
    """

    peak: np.ndarray
    usual: np.ndarray


@dataclass
class _Pass:
    """Reads the weights of a trained model and collects the ranges, by place: the PyTorch name of a module."""

    config: MobileBertConfig
    read: Read
    ranges: dict[str, Range] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """A weight of the encoder in float32."""
        return self.read(BASE_PREFIX + name).astype(np.float32)

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        """(..., in) -> (..., out)."""
        return x @ self.array(f"{name}.weight").T + self.array(f"{name}.bias")

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """The NoNorm of a module: (..., width) -> (..., width)."""
        return x * self.array(f"{name}.LayerNorm.weight") + self.array(f"{name}.LayerNorm.bias")

    def observe(self, place: str, x: np.ndarray) -> np.ndarray:
        """Keeps the range of each feature of a state (T, width), and returns the state."""
        exponents = np.frexp(x)[1]
        present = x != 0
        count = present.sum(axis=0)
        usual = np.where(count, (exponents * present).sum(axis=0) / np.maximum(count, 1), np.nan)
        self.ranges[place] = Range(_peak(x), usual)
        return x

    def join(self, name: str, z: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """norm(dense(z) + residual), whose range is kept: (T, in) and (T, width) -> (T, width)."""
        added = self.norm(name, self.dense(f"{name}.dense", z))
        total = self.observe(name, added + residual * self.array(f"{name}.LayerNorm.weight"))
        self.ranges[name].peak = np.maximum(self.ranges[name].peak, _peak(added))
        return total

    def activate(self, place: str, x: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """activation(x), whose range is kept: (T, width) -> (T, width).

        A feature that relu cuts off in the whole batch may be as large elsewhere as it is below zero here.
        """
        before = self.observe(place, x)
        cut_off = self.ranges[place]
        after = self.observe(place, activation(before))
        found = self.ranges[place]
        found.usual = np.where(np.isnan(found.usual), cut_off.usual, found.usual)
        found.peak = np.maximum(found.peak, cut_off.peak)
        return after


def _peak(x: np.ndarray) -> np.ndarray:
    return np.frexp(np.abs(x).max(axis=0))[1]


def feature_ranges(config: MobileBertConfig, read: Read, batch: Mapping[str, np.ndarray]) -> dict[str, Range]:
    """The range of every array that a block stores, by place.

    Places are the PyTorch names of modules inside the bare model: "embeddings", "encoder.layer.0.bottleneck.input",
    "encoder.layer.0.attention.self.query", "encoder.layer.0.ffn.0.intermediate", "encoder.layer.0.output.bottleneck".

    Args:
        config: of a trained model with normalization_type "no_norm".
        read: gives its arrays by full name.
        batch: input_ids (..., S), and attention_mask and token_type_ids of the same shape if wanted.

    Raises:
        ConfigError: where a value is not finite.
    """
    ids = batch["input_ids"].reshape(-1, batch["input_ids"].shape[-1])  # choices are texts
    mask = batch.get("attention_mask")
    mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask).reshape(ids.shape) >= 1
    types = batch.get("token_type_ids")
    types = np.zeros_like(ids) if types is None else np.asarray(types).reshape(ids.shape)
    run = _Pass(config, read)
    with np.errstate(all="ignore"):  # what is not finite is named below
        x = _embeddings(run, ids, mask, types)
        for layer in range(config.num_hidden_layers):
            x = _block(run, layer, x, mask)
    if not np.isfinite(x).all():
        raise ConfigError("fold: wanted a calibration batch with finite states, got NaN or infinity on it.")
    return run.ranges


def summed_embeddings(
    config: MobileBertConfig,
    array: Callable[[str], np.ndarray],
    ids: np.ndarray,
    types: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Words, positions and segments before their norm: ids (B, S) -> (B, S, H).

    Args:
        array: gives the weight of a name inside the bare model, in the dtype to compute in.
        mask: (B, S), where there is text; default everywhere.
    """
    name = "embeddings"
    x = array(f"{name}.word_embeddings.weight")[ids]  # (B, S, E)
    if config.trigram_input:
        neighbours = x if mask is None or not config.padding_invariant else x * mask[..., None]
        padded = np.pad(neighbours, ((0, 0), (1, 1), (0, 0)))
        x = np.concatenate((padded[:, 2:], x, padded[:, :-2]), axis=-1)  # (B, S, 3E)
    if config.transforms_embeddings:
        weight, bias = (array(f"{name}.embedding_transformation.{leaf}") for leaf in ("weight", "bias"))
        x = x @ weight.T + bias  # (B, S, H)
    x = x + array(f"{name}.position_embeddings.weight")[: ids.shape[1]]
    summed: np.ndarray = x + array(f"{name}.token_type_embeddings.weight")[types]
    return summed


def _embeddings(run: _Pass, ids: np.ndarray, mask: np.ndarray, types: np.ndarray) -> np.ndarray:
    x = summed_embeddings(run.config, run.array, ids, types, mask)
    return run.observe("embeddings", run.norm("embeddings", x).reshape(-1, run.config.hidden_size))


def _block(run: _Pass, layer: int, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The state after a block: (T, H) -> (T, H)."""
    config, block = run.config, f"encoder.layer.{layer}"
    activation = _FUNCTIONS[ACTIVATIONS[config.hidden_act]]
    query, value, y = x, x, x
    if config.use_bottleneck:
        place = f"{block}.bottleneck.input"
        y = run.observe(place, run.norm(place, run.dense(f"{place}.dense", x)))
        if config.use_bottleneck_attention:
            query = value = y
        elif config.key_query_shared_bottleneck:
            place = f"{block}.bottleneck.attention"
            query = run.observe(place, run.norm(place, run.dense(f"{place}.dense", x)))
    context = _attention(run, f"{block}.attention.self", query, value, mask, config.heads_of_layer(layer))
    y = run.join(f"{block}.attention.output", context, y)
    for network in feedforward_networks(config, block):
        place = f"{network}.intermediate"
        middle = run.activate(place, run.dense(f"{place}.dense", y), activation)
        y = run.join(f"{network}.output", middle, y)
    return run.join(f"{block}.output.bottleneck", y, x) if config.use_bottleneck else y


def _attention(run: _Pass, name: str, query: np.ndarray, value: np.ndarray, mask: np.ndarray, heads: int) -> np.ndarray:
    """The context, (T, N * D)."""
    q, k, v = (
        run.observe(f"{name}.{part}", run.dense(f"{name}.{part}", x))
        .reshape(*mask.shape, heads, run.config.head_size)
        .transpose(0, 2, 1, 3)
        for part, x in (("query", query), ("key", query), ("value", value))
    )
    scores = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(run.config.head_size))  # (B, N, S, S)
    scores = np.where(mask[:, None, None, :], scores, np.finfo(np.float32).min)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(-1, heads * run.config.head_size)


def powers_of(config: MobileBertConfig, ranges: Mapping[str, Range]) -> dict[str, np.ndarray]:
    """The exponents k of what is stored, by place, but for queries and keys; at least 0: nothing is enlarged."""
    powers = {}
    for place, found in ranges.items():
        name = place.rpartition(".")[2]
        if name in ("query", "key") or (name == "intermediate" and ACTIVATIONS[config.hidden_act] != "relu"):
            continue
        usual = np.where(np.isnan(found.usual), -np.inf, np.ceil(found.usual) - USUAL)
        powers[place] = np.maximum(0, np.maximum(found.peak - PEAK, usual))
    return powers


def shared_out(
    peaks: tuple[np.ndarray, np.ndarray], weights: tuple[np.ndarray, np.ndarray], heads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The exponents of queries and keys (heads * D,), of their peaks and of the largest weights that lead to each.

    What one side gives up the other takes, so that scores stay as they are. Where neither can take more, for its values
    or for the weights that lead to them, scores reach 2**22 or so, and half precision cannot tell apart those closer
    than their 2048th part. There all scores of a head become smaller alike: the token that it looks at stays the same.
    """
    query, key = (np.maximum(peak - PEAK, weight - LARGEST_WEIGHT) for peak, weight in zip(peaks, weights, strict=True))
    lost = (query + key).reshape(heads, -1).max(axis=1, initial=0)  # at least 0
    lost = np.repeat(lost, len(query) // max(heads, 1))
    large = (query > 0) | (key > 0) | (lost > 0)
    of_query = np.where(large, np.round((query - key + lost) / 2), 0.0)
    return of_query, lost - of_query

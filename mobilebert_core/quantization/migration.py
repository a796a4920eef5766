"""Scales migrated between neighbouring weights: the same model, whose activations fill an integer type evenly.

One scale serves all features of an activation in 8 bits, and one each output of a matrix. A feature that is a hundred
times larger than its neighbours takes seven of their eight bits. Its scale can be moved into the weights where an
activation is written and read by dense layers alone. With a positive diagonal matrix C, exactly:

    stream          x = C x'      writers and their residual: rows / C, readers: columns * C; a kept norm passes from
                                  C to C' with gain * C / C' and shift / C'. One for the stream between blocks at each
                                  block, one for the stream inside each block.
    bottleneck      q, k read it alone: rows / C, columns * C
    relu            relu(C y) = C relu(y): rows and bias / C before it, columns * C behind
    value, output   the probabilities sum over tokens, not features: as for relu
    query, key      q . k = (q / C) . (k C)

Scales are powers of two, so that float32 gives the same bits as before. They are those of SmoothQuant (Xiao et al.,
2022, section 4): largest activation ** strength / largest weight ** (1 - strength), for each feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from .observation import Calibration

STRENGTH = 0.8  # of 0.5, 0.8 and none the most equal decisions, dynamic and static
_LARGEST_EXPONENT = 12  # of a scale against the others of its stream

Read = Callable[[str], np.ndarray]


def migrated(
    config: MobileBertConfig, read: Read, calibration: Calibration, strength: float = STRENGTH
) -> dict[str, np.ndarray]:
    """The arrays that change, in float64 by full name; all outputs of the model stay what they are.

    Hidden states are an exception: those between the first and the last are scaled. Without bottlenecks the streams
    stay as they are; with an activation other than relu its features do.

    Args:
        config: of a model folded by "block", which `read` reads by full name ("mobilebert.encoder...").
        calibration: observed on that folded model.
        strength: 0 evens out the weights, 1 the activations.

    Raises:
        ConfigError: for a model that is not folded by "block".
    """
    if config.folding != "block":
        raise ConfigError(f"migrated: wanted a model folded by 'block', got folding={config.folding!r}. Fold it first.")
    weights = _Weights(read, calibration, strength)
    stream = np.ones(config.hidden_size)
    if config.use_bottleneck and config.num_hidden_layers:
        stream = weights.scales(_readers_of_block(config, 0))
        for name in _embedding_writers(config):
            weights.divide(name, stream)
    for layer in range(config.num_hidden_layers):
        block = f"encoder.layer.{layer}"
        _migrate_attention(weights, config, block)
        for network in _networks(config, block):
            _migrate_network(weights, config, network)
        if config.use_bottleneck:
            _migrate_inner(weights, config, block)
            stream = _migrate_stream(weights, config, layer, stream)
    return weights.arrays


class _Weights:
    """Reads weights, keeps those that change."""

    def __init__(self, read: Read, calibration: Calibration, strength: float) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._read, self._calibration, self._strength = read, calibration, strength

    def scales(self, readers: Sequence[str]) -> np.ndarray:
        """A scale for each feature of an activation that these dense layers read."""
        channels = self._calibration.channels
        readers = [name for name in readers if f"mobilebert.{name}" in channels]  # some layers are there and never run
        seen = np.max([channels[f"mobilebert.{name}"] for name in readers], axis=0)
        weights = np.max([np.abs(self.get(f"{name}.weight")).max(axis=0) for name in readers], axis=0)
        return _powers_of_two(seen, weights, self._strength)

    def balance(self, query: str, key: str) -> np.ndarray:
        """Scales that make both as large, by their observed outputs."""
        found = self._calibration.outputs
        return _powers_of_two(found[f"mobilebert.{query}"], found[f"mobilebert.{key}"], 0.5)

    def get(self, name: str) -> np.ndarray:
        name = f"mobilebert.{name}"
        if name not in self.arrays:
            self.arrays[name] = self._read(name).astype(np.float64)
        return self.arrays[name]

    def divide(self, name: str, scale: np.ndarray, bias: bool = True) -> None:
        """The outputs of a dense layer, or the features of a table or norm, / scale."""
        if name.endswith(("_embeddings", "LayerNorm")):
            self._put(f"{name}.weight", self.get(f"{name}.weight") / scale)
        else:
            self._put(f"{name}.weight", self.get(f"{name}.weight") / scale[:, None])
        if bias and not name.endswith("_embeddings"):
            self.shift(name, scale)

    def multiply(self, name: str, scale: np.ndarray) -> None:
        """The inputs of a dense layer * scale."""
        self._put(f"{name}.weight", self.get(f"{name}.weight") * scale)

    def shift(self, name: str, scale: np.ndarray) -> None:
        """A bias / scale."""
        self._put(f"{name}.bias", self.get(f"{name}.bias") / scale)

    def gain(self, name: str, factor: np.ndarray) -> None:
        """The gain of a norm * factor."""
        self._put(f"{name}.weight", self.get(f"{name}.weight") * factor)

    def _put(self, name: str, array: np.ndarray) -> None:
        self.arrays[f"mobilebert.{name}"] = array


def _powers_of_two(larger: np.ndarray, smaller: np.ndarray, strength: float) -> np.ndarray:
    """2**k nearest to larger**strength / smaller**(1 - strength), with a median k of 0. Dead features keep 1."""
    alive = (larger > 0) & (smaller > 0)
    exponents = np.zeros(len(larger))
    if alive.any():
        raw = strength * np.log2(larger[alive]) - (1 - strength) * np.log2(smaller[alive])
        exponents[alive] = np.clip(np.round(raw - np.median(raw)), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    return np.exp2(exponents)


def _embedding_writers(config: MobileBertConfig) -> tuple[str, ...]:
    if not config.transforms_embeddings:
        return ("embeddings.LayerNorm",)
    names = ("embedding_transformation", "position_embeddings", "token_type_embeddings")
    return tuple(f"embeddings.{name}" for name in names)


def _readers_of_block(config: MobileBertConfig, layer: int) -> list[str]:
    """The dense layers that read the stream between blocks, at one block."""
    block = f"encoder.layer.{layer}"
    readers = [f"{block}.bottleneck.input.dense"]
    if config.key_query_shared_bottleneck:
        readers.append(f"{block}.bottleneck.attention.dense")
    if not config.use_bottleneck_attention:
        readers.append(f"{block}.attention.self.value")
        if not config.key_query_shared_bottleneck:
            readers += [f"{block}.attention.self.query", f"{block}.attention.self.key"]
    return readers


def _networks(config: MobileBertConfig, block: str) -> Iterator[str]:
    yield from (f"{block}.ffn.{i}" for i in range(config.num_feedforward_networks - 1))
    yield block


def _migrate_attention(weights: _Weights, config: MobileBertConfig, block: str) -> None:
    attention = f"{block}.attention.self"
    query, key = f"{attention}.query", f"{attention}.key"
    scale = weights.balance(query, key)
    weights.divide(query, scale)
    weights.divide(key, 1 / scale)
    output = f"{block}.attention.output.dense"
    scale = weights.scales([output])
    weights.divide(f"{attention}.value", scale)
    weights.multiply(output, scale)
    if config.use_bottleneck and config.key_query_shared_bottleneck and not config.use_bottleneck_attention:
        scale = weights.scales([query, key])
        weights.divide(f"{block}.bottleneck.attention.dense", scale)
        for name in (query, key):
            weights.multiply(name, scale)


def _migrate_network(weights: _Weights, config: MobileBertConfig, network: str) -> None:
    if config.hidden_act != "relu":
        return
    scale = weights.scales([f"{network}.output.dense"])
    weights.divide(f"{network}.intermediate.dense", scale)
    weights.multiply(f"{network}.output.dense", scale)


def _migrate_inner(weights: _Weights, config: MobileBertConfig, block: str) -> None:
    """The stream inside a block, which starts at its bottleneck."""
    networks = list(_networks(config, block))
    readers = [*(f"{network}.intermediate.dense" for network in networks), f"{block}.output.bottleneck.dense"]
    if config.use_bottleneck_attention:
        readers += [f"{block}.attention.self.{name}" for name in ("query", "key", "value")]
    scale = weights.scales(readers)
    weights.divide(f"{block}.bottleneck.input.dense", scale)
    for name in readers:
        weights.multiply(name, scale)
    for module in (f"{block}.attention.output", *(f"{network}.output" for network in networks)):
        weights.divide(f"{module}.dense", scale, bias=False)
        if module in config.kept_norms:
            weights.shift(f"{module}.LayerNorm", scale)


def _migrate_stream(weights: _Weights, config: MobileBertConfig, layer: int, stream: np.ndarray) -> np.ndarray:
    """The stream that a block reads has its scale; returns that of the stream behind, which is written here too."""
    last = layer + 1 == config.num_hidden_layers
    behind = np.ones(config.hidden_size) if last else weights.scales(_readers_of_block(config, layer + 1))
    for name in _readers_of_block(config, layer):
        weights.multiply(name, stream)
    module = f"encoder.layer.{layer}.output.bottleneck"
    weights.divide(f"{module}.dense", stream, bias=False)
    weights.gain(f"{module}.LayerNorm", stream / behind)
    weights.shift(f"{module}.LayerNorm", behind)
    return behind

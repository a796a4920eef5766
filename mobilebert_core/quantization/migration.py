"""Scales and centers migrated between neighbouring weights: the same model, whose activations fill integers evenly.

One scale serves all features of an activation in 8 bits, and one each output of a matrix. A feature that is a hundred
times larger than its neighbours takes seven of their eight bits, one whose values lie around 50 takes more than it
needs. Its scale and its center can be moved into the weights where an activation is written and read by dense layers
alone. With a positive diagonal matrix C and a constant m, exactly:

    stream          x = C x' + m  writers: rows / C, the first bias - m too; readers: columns * C, bias + W m; a kept
                                  norm passes from C, m to C', m' with gain * C / C', (shift + gain * m - m') / C'. One
                                  for the stream between blocks at each block, one for the stream inside each block.
    bottleneck      q, k read it alone: as a stream with one writer
    value, output   the probabilities sum over tokens, not features, and to 1: as a stream; the output layer has no
                    bias, so what m becomes after it is given to the stream that it joins
    relu            relu(C y) = C relu(y): rows and bias / C before it, columns * C after; no m
    query, key      q . k = (q / C) . (k C)

Scales are those of SmoothQuant (Xiao et al., 2022, section 4): largest activation ** strength / largest weight **
(1 - strength), for each feature. The center is the middle between its lowest and its highest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..ranges import Read
from ..weight_rows import BASE_PREFIX
from ..weights import feedforward_networks
from .observation import Calibration

STRENGTH = 0.65  # of 0.5, 0.65, 0.8 and 1 the least error of activations
_SMALLEST_SHARE = 0.2  # of the largest feature: one that the texts hardly show may be large in others
_LARGEST_EXPONENT = 12  # of a scale against the others of its stream


def migrated(
    config: MobileBertConfig, read: Read, calibration: Calibration, strength: float = STRENGTH
) -> dict[str, np.ndarray]:
    """The arrays that change, in float64 by full name; all outputs of the model stay what they are.

    Hidden states are an exception: those between the first and the last are scaled and centered. Without bottlenecks
    the streams stay as they are; with an activation other than relu its features do.

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
    stream = _Units(np.ones(config.hidden_size), np.zeros(config.hidden_size))
    if config.use_bottleneck and config.num_hidden_layers:
        stream = weights.units(_readers_of_block(config, 0))
        writer, *tables = _embedding_writers(config)
        weights.write(writer, stream)
        for name in tables:
            weights.divide(name, stream.scale)
    for layer in range(config.num_hidden_layers):
        block = f"encoder.layer.{layer}"
        constant = _migrate_attention(weights, config, block)
        for network in feedforward_networks(config, block):
            _migrate_network(weights, config, network)
        if config.use_bottleneck:
            constant = _migrate_inner(weights, config, block, constant)
            stream = _migrate_stream(weights, config, layer, stream, constant)
    return weights.arrays


@dataclass(frozen=True)
class _Units:
    """How an activation is stored: x = scale * x' + center, each (C,)."""

    scale: np.ndarray
    center: np.ndarray


class _Weights:
    """Reads weights, keeps those that change."""

    def __init__(self, read: Read, calibration: Calibration, strength: float) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._read, self._calibration, self._strength = read, calibration, strength

    def units(self, readers: Sequence[str], centered: bool = True) -> _Units:
        """Units for an activation that these dense layers read."""
        seen = self._calibration
        run = [name for name in readers if BASE_PREFIX + name in seen.lowest]  # some layers are there and never run
        lowest = np.min([seen.lowest[BASE_PREFIX + name] for name in run], axis=0)
        highest = np.max([seen.highest[BASE_PREFIX + name] for name in run], axis=0)
        center = (lowest + highest) / 2 if centered else np.zeros(len(lowest))
        weights = np.max([np.abs(self.get(f"{name}.weight")).max(axis=0) for name in run], axis=0)
        largest = np.maximum(highest - center, center - lowest)
        largest = np.maximum(largest, _SMALLEST_SHARE * largest.max(initial=0.0))
        return _Units(_even(largest, weights, self._strength), center)

    def balance(self, query: str, key: str) -> np.ndarray:
        """Scales that make both as large, by their observed outputs."""
        found = self._calibration.outputs
        return _even(found[BASE_PREFIX + query], found[BASE_PREFIX + key], 0.5)

    def get(self, name: str) -> np.ndarray:
        name = BASE_PREFIX + name
        if name not in self.arrays:
            self.arrays[name] = self._read(name).astype(np.float64)
        return self.arrays[name]

    def write(self, name: str, units: _Units) -> None:
        """What a dense layer, or a norm after the embeddings, writes is stored in these units."""
        self.divide(name, units.scale)
        self._put(f"{name}.bias", (self.get(f"{name}.bias") - units.center) / units.scale)

    def read(self, name: str, units: _Units) -> None:
        """What a dense layer with a bias reads is stored in these units."""
        self._put(f"{name}.bias", self.get(f"{name}.bias") + self.get(f"{name}.weight") @ units.center)
        self.multiply(name, units.scale)

    def divide(self, name: str, scale: np.ndarray) -> None:
        """The outputs of a dense layer, or the features of a table or norm, / scale; without the bias."""
        rows = scale if name.endswith(("_embeddings", "LayerNorm")) else scale[:, None]
        self._put(f"{name}.weight", self.get(f"{name}.weight") / rows)

    def multiply(self, name: str, scale: np.ndarray) -> None:
        """The inputs of a dense layer * scale."""
        self._put(f"{name}.weight", self.get(f"{name}.weight") * scale)

    def pass_norm(self, name: str, before: _Units, behind: _Units, constant: np.ndarray) -> None:
        """A kept norm reads a stream in some units, to which a constant is missing too, and writes it in others."""
        gain = self.get(f"{name}.weight")
        shift = self.get(f"{name}.bias") + gain * (before.center + constant) - behind.center
        self._put(f"{name}.bias", shift / behind.scale)
        self._put(f"{name}.weight", gain * before.scale / behind.scale)

    def _put(self, name: str, array: np.ndarray) -> None:
        self.arrays[BASE_PREFIX + name] = array


def _even(larger: np.ndarray, smaller: np.ndarray, strength: float) -> np.ndarray:
    """larger**strength / smaller**(1 - strength), with a median of 1. Dead features keep 1."""
    alive = (larger > 0) & (smaller > 0)
    exponents = np.zeros(len(larger))
    if alive.any():
        raw = strength * np.log2(larger[alive]) - (1 - strength) * np.log2(smaller[alive])
        exponents[alive] = np.clip(raw - np.median(raw), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    return np.exp2(exponents)


def _embedding_writers(config: MobileBertConfig) -> tuple[str, ...]:
    """The one with a bias first."""
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


def _migrate_attention(weights: _Weights, config: MobileBertConfig, block: str) -> np.ndarray:
    """Returns what is missing after the output layer, (W,): its matrix times the center of the values."""
    attention = f"{block}.attention.self"
    query, key = f"{attention}.query", f"{attention}.key"
    scale = weights.balance(query, key)
    none = np.zeros(len(scale))
    weights.write(query, _Units(scale, none))
    weights.write(key, _Units(1 / scale, none))
    output = f"{block}.attention.output.dense"
    values = weights.units([output], centered=config.use_bottleneck)
    weights.write(f"{attention}.value", values)
    constant: np.ndarray = weights.get(f"{output}.weight") @ values.center
    weights.multiply(output, values.scale)
    if config.use_bottleneck and config.key_query_shared_bottleneck and not config.use_bottleneck_attention:
        shared = weights.units([query, key])
        weights.write(f"{block}.bottleneck.attention.dense", shared)
        for name in (query, key):
            weights.read(name, shared)
    return constant


def _migrate_network(weights: _Weights, config: MobileBertConfig, network: str) -> None:
    if config.hidden_act != "relu":
        return
    middle = weights.units([f"{network}.output.dense"], centered=False)
    weights.write(f"{network}.intermediate.dense", middle)
    weights.multiply(f"{network}.output.dense", middle.scale)


def _migrate_inner(weights: _Weights, config: MobileBertConfig, block: str, constant: np.ndarray) -> np.ndarray:
    """The stream inside a block, which starts at its bottleneck; returns what is missing after the block, (H,).

    Args:
        constant: what is missing after its attention.
    """
    networks = feedforward_networks(config, block)
    behind = [*(f"{network}.intermediate.dense" for network in networks), f"{block}.output.bottleneck.dense"]
    before = [f"{block}.attention.self.{name}" for name in ("query", "key", "value")]
    before = before if config.use_bottleneck_attention else []
    inner = weights.units([*before, *behind])
    attention = f"{block}.attention.output"
    first = inner if attention in config.kept_norms else _Units(inner.scale, inner.center - constant)
    weights.write(f"{block}.bottleneck.input.dense", first)
    for name in before:
        weights.read(name, first)
    missing: np.ndarray = weights.get(f"{behind[-1]}.weight") @ inner.center
    for name in behind[:-1]:
        weights.read(name, inner)
    weights.multiply(behind[-1], inner.scale)
    for module in (attention, *(f"{network}.output" for network in networks)):
        weights.divide(f"{module}.dense", inner.scale)
        if module in config.kept_norms:
            weights.pass_norm(f"{module}.LayerNorm", inner, inner, constant if module == attention else 0 * constant)
    return missing


def _migrate_stream(
    weights: _Weights, config: MobileBertConfig, layer: int, stream: _Units, constant: np.ndarray
) -> _Units:
    """The stream that a block reads has its units; returns those of the stream after it, which is written here too.

    Args:
        constant: what is missing in what the block writes.
    """
    last = layer + 1 == config.num_hidden_layers
    size = config.hidden_size
    behind = _Units(np.ones(size), np.zeros(size)) if last else weights.units(_readers_of_block(config, layer + 1))
    for name in _readers_of_block(config, layer):
        weights.read(name, stream)
    module = f"encoder.layer.{layer}.output.bottleneck"
    weights.divide(f"{module}.dense", stream.scale)
    weights.pass_norm(f"{module}.LayerNorm", stream, behind, constant)
    return behind

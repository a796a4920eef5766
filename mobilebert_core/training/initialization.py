"""The weights a training starts from where no checkpoint has them, the same for every backend."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..weights import Weight


def initial_arrays(weights: Iterable[Weight], config: MobileBertConfig, seed: int) -> dict[str, np.ndarray]:
    """Float32 arrays by name, for the weights that are not tied to another.

    Matrices come from a normal distribution cut at two standard deviations (`initializer_range`), norms and gains start
    at the identity, biases, exponents and the padding row of the word embeddings at 0: as in the released code. Each is
    drawn from the seed and its own name, so that it does not matter which others are drawn.
    """
    return {w.name: _initial(w, config, seed) for w in weights if w.tied_to is None}


def newly_initialized_names(table: Iterable[Weight], info: Mapping[str, Any] | None) -> list[str]:
    """The newly initialized weights: without a checkpoint all, else those that `info` of loading it names."""
    if info is None:
        return [weight.name for weight in table if weight.tied_to is None]
    return [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]


def _initial(weight: Weight, config: MobileBertConfig, seed: int) -> np.ndarray:
    if weight.name.endswith("bias") or weight.kind == "exponents":
        return np.zeros(weight.shape, np.float32)
    if weight.kind.endswith("norm") or weight.kind == "gain":
        return np.ones(weight.shape, np.float32)
    rng = np.random.default_rng([seed, zlib.crc32(weight.name.encode())])
    array = rng.standard_normal(weight.shape, np.float32)
    while (beyond := np.abs(array) > 2).any():
        array[beyond] = rng.standard_normal(int(beyond.sum()), np.float32)
    array *= np.float32(config.initializer_range)
    if weight.kind == "word_table" and config.pad_token_id is not None:
        array[config.pad_token_id] = 0
    return array

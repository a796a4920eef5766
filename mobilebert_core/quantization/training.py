"""Quantization-aware training: the model computes with the rounding of static int8, and learns to live with it.

Inputs of dense layers are rounded to 256 levels between a lowest and a highest value, which move with the batches;
their matrices to integers with a scale for each output (`integers.py`). Gradients pass as if nothing was rounded,
but not where an input lies beyond its range. The weights that are saved are those that are trained, and config.json
holds the ranges, by which `mobilebert export --precision int8-static` makes the integers that were trained.

Jacob et al., 2018 (section 3); ranges move as in the released quantization-aware MobileBERT (0.999).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..weights import Weight
from .observation import dense_places

QUANTIZATIONS = ("int8",)
RATE = 0.999  # of a range that stays in each batch
UNSEEN = (1.0, -1.0)  # a range that no batch has set: the lowest value above the highest
RANGE = "range."  # begins the names of ranges in a saved state
_FIELD = "quantization"  # of config.json
_PRECISIONS = ("float32", "float64")

Ranges = Mapping[str, np.ndarray]


def trained_places(table: tuple[Weight, ...]) -> dict[str, Weight]:
    """The dense layers that are rounded: all but the classifiers of heads, which stay floats in exports too."""
    return {place: weight for place, weight in dense_places(table).items() if weight.kind != "classifier"}


def check_quantize(quantize: str | None, precision: str, config: MobileBertConfig) -> None:
    """Raises ConfigError for a quantization that is not trained, or not with this precision or model."""
    if quantize is None:
        return
    if quantize not in QUANTIZATIONS:
        raise ConfigError(f"Trainer: quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}.")
    if precision not in _PRECISIONS:
        raise ConfigError(
            f"Trainer: quantize={quantize!r} rounds by itself and needs precision {' or '.join(_PRECISIONS)}, got "
            f"{precision!r}."
        )
    if config.folding is not None or config.gradient_checkpointing:
        what = f"folding={config.folding!r}" if config.folding else "gradient_checkpointing=True"
        raise ConfigError(
            f"Trainer: quantize={quantize!r} wants a model as it was trained, without gradient checkpointing, got "
            f"{what}."
        )


def with_ranges(config: MobileBertConfig, ranges: Ranges) -> MobileBertConfig:
    """A configuration that holds the ranges; it is read and written like every other."""
    new = config.copy()
    seen = {place: [float(low), float(high)] for place, (low, high) in ranges.items() if low <= high}
    new.extra[_FIELD] = {"precision": "int8-static", "ranges": seen}
    return new


def without_ranges(config: MobileBertConfig) -> MobileBertConfig:
    """A configuration that holds no ranges: those of a model whose weights change belong to the weights before."""
    if _FIELD not in config.extra:
        return config
    new = config.copy()
    del new.extra[_FIELD]
    return new


def ranges_in(config: MobileBertConfig) -> dict[str, tuple[float, float]] | None:
    """The ranges that a quantization-aware training has left: place of a dense layer -> lowest and highest input.

    Raises:
        ConfigError: for a damaged entry.
    """
    found = config.extra.get(_FIELD)
    if found is None:
        return None
    ranges = found.get("ranges") if isinstance(found, dict) else None
    if not isinstance(ranges, dict) or not all(_is_range(each) for each in ranges.values()):
        raise ConfigError(
            f"config.json: wanted {_FIELD}.ranges with two finite numbers for each dense layer, as training with "
            f"--quantize writes it, got {str(found)[:80]!r}. Train again, or take the entry out."
        )
    return {place: (float(low), float(high)) for place, (low, high) in ranges.items()}


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, int | float) and math.isfinite(each) for each in value)
        and value[0] <= value[1]
    )

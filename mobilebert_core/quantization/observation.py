"""Calibration: what is observed of a model while it reads real texts, and what follows for its integers.

A backend calls `Observer.dense` with the input and the output of every dense layer; the rest is here, in numpy.

    from mobilebert_torch.calibration import calibrate       # or mobilebert_tf
    calibration = calibrate(model, batches)                  # batches: numpy inputs by name, of real texts, padded
    calibration.mask_constant                                # added to the scores of padding, in an export
    calibration.range(place, "squared_error")                # lowest and highest value of a dense layer's input
    migrated(model.config, read, calibration)                # mobilebert_core.quantization.migration

B batch, S sequence, N heads, D head size, C features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..weights import Weight
from .histograms import Histogram
from .integers import LEVELS

MARGIN = 20.0  # e**-20 = 2e-9 of the attention is all that a masked token gets
_DENSE_KINDS = ("linear", "matrix", "joined", "classifier")


@dataclass
class Calibration:
    """What was observed. A place is a dense layer by its full name: "mobilebert.encoder.layer.0.ffn.0.output.dense".

    Attributes:
        rows, tokens: that were read, padding not counted.
        score_range: the widest span of the scores that one token gives to all others, masked ones included, in any
            head of any block; before the mask is added.
        inputs: histograms of a dense layer's inputs. Masked tokens are left out: nobody reads their values.
        lowest, highest: of each input feature of a dense layer, (C,); 0 need not lie between.
        outputs: the largest absolute value of each of its output features.
    """

    rows: int = 0
    tokens: int = 0
    score_range: float = 0.0
    inputs: dict[str, Histogram] = field(default_factory=dict)
    lowest: dict[str, np.ndarray] = field(default_factory=dict)
    highest: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def mask_constant(self) -> float:
        """What an export adds to the scores of masked tokens: negative, and no larger than it has to be.

        The lowest float, or -10,000, would be the range of the scores for whoever quantizes them, and nothing would be
        left of the differences between the others.
        """
        return -(math.ceil(self.score_range) + MARGIN)

    def range(self, place: str, method: str = "squared_error", levels: int = LEVELS) -> tuple[float, float]:
        """The lowest and the highest input of a dense layer that its integers should stand for."""
        return self.inputs[place].range(method, levels)

    def record(self) -> dict[str, Any]:
        """What an export says of its calibration, for JSON."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "score_range": self.score_range,
            "mask_constant": self.mask_constant,
        }


def dense_places(table: tuple[Weight, ...]) -> dict[str, Weight]:
    """The dense layers of a table of weights: the place of each, and its matrix."""
    return {
        weight.full_name.removesuffix(".weight"): weight
        for weight in table
        if weight.kind in _DENSE_KINDS and weight.full_name.endswith(".weight")
    }


class Observer:
    """Collects a calibration: `begin` for each batch, then `dense` for each dense layer that runs.

    Raises:
        ConfigError: for a model folded by "all", whose layers are not those of the trained one.
    """

    def __init__(self, config: MobileBertConfig) -> None:
        if config.folding == "all":
            raise ConfigError(
                "calibration: wanted a model as it was trained or folded by 'block', got one folded by 'all'. "
                "Calibrate before folding; the range of the scores is the same."
            )
        self.config = config
        self.calibration = Calibration()
        self._mask = np.ones((0, 0), bool)
        self._queries: dict[str, np.ndarray] = {}

    def begin(self, batch: Mapping[str, np.ndarray]) -> None:
        """A new batch; its `attention_mask` (B, S) says which tokens count, default all."""
        ids = np.asarray(batch["input_ids"])
        ids = ids.reshape(-1, ids.shape[-1])  # choices are rows
        mask = batch.get("attention_mask")
        self._mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask).reshape(ids.shape) >= 1
        self.calibration.rows += len(ids)
        self.calibration.tokens += int(self._mask.sum())

    def dense(self, place: str, x: np.ndarray, y: np.ndarray) -> None:
        """A dense layer ran: its input (..., in) and output (..., out)."""
        found = self.calibration
        read, written = self._seen(x), self._seen(y)
        with_place = f"calibration: {place}: "
        try:
            found.inputs.setdefault(place, Histogram()).add(read)
        except ConfigError as e:
            raise ConfigError(with_place + str(e).removeprefix("calibration: ")) from None
        if len(read):
            found.lowest[place] = np.minimum(found.lowest.get(place, np.inf), read.min(axis=0)).astype(np.float64)
            found.highest[place] = np.maximum(found.highest.get(place, -np.inf), read.max(axis=0)).astype(np.float64)
        now = np.abs(written).max(axis=0, initial=0.0).astype(np.float64)
        found.outputs[place] = np.maximum(found.outputs.get(place, 0.0), now)
        if place.endswith(".self.query"):
            self._queries[place.removesuffix("query")] = y
        elif place.endswith(".self.key"):
            self._scores(self._queries.pop(place.removesuffix("key")), y)

    def _seen(self, x: np.ndarray) -> np.ndarray:
        """The rows of tokens that are not masked, (tokens, C)."""
        rows = x.reshape(-1, x.shape[-1])
        mask = self._mask.ravel()
        return rows[mask] if len(rows) == len(mask) else rows  # pooled: one row of each text

    def _scores(self, query: np.ndarray, key: np.ndarray) -> None:
        batch, length = self._mask.shape
        size = self.config.head_size
        q, k = (each.reshape(batch, length, -1, size).transpose(0, 2, 1, 3).astype(np.float64) for each in (query, key))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(size)  # (B, N, S, S)
        spans = (scores.max(-1) - scores.min(-1)).transpose(0, 2, 1)[self._mask]
        self.calibration.score_range = max(self.calibration.score_range, float(spans.max(initial=0.0)))

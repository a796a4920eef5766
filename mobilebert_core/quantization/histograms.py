"""Counts of the values that a tensor takes, and the range of an integer type that is best for them.

The smallest and the largest value are a poor range for 8 bits: one outlier of 1000 takes the steps from all others.
A percentile gives up a fixed share of the values, the squared error as many as pay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from .integers import LEVELS

BINS = 2048
METHODS = ("squared_error", "percentile", "min_max")
PERCENTILE = 99.99  # per cent of the values that stay inside the range
_SHRINKS = np.linspace(0.04, 1.0, 49)  # shares of an end of the range that are tried


@dataclass
class Histogram:
    """Counts over equal bins from `low` to `high`, which grow with what is added."""

    low: float = 0.0
    high: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def add(self, values: np.ndarray) -> None:
        """Counts values of any shape; nothing for an empty array.

        Raises:
            ConfigError: for values that are not finite.
        """
        values = np.asarray(values, np.float64).ravel()
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ConfigError("calibration: wanted finite values, got NaN or infinity; the model overflows here.")
        low, high = min(low, self.low), max(high, self.high)  # 0 is always inside
        if (low, high) != (self.low, self.high):
            centers, counts = self._centers(), self.counts
            self.low, self.high, self.counts = low, high, np.zeros(BINS)
            self._count(centers[counts > 0], counts[counts > 0])
        self._count(values, None)

    def _count(self, values: np.ndarray, weights: np.ndarray | None) -> None:
        if values.size:
            width = self.high - self.low or 1.0
            places = np.clip(((values - self.low) / width * BINS).astype(np.int64), 0, BINS - 1)
            self.counts += np.bincount(places, weights, minlength=BINS)

    def _centers(self) -> np.ndarray:
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS

    def range(
        self, method: str = "squared_error", levels: int = LEVELS, symmetric: bool = False
    ) -> tuple[float, float]:
        """The lowest and the highest value that an integer type of so many levels should stand for; 0 lies between.

        Args:
            method: "squared_error" (the least of rounding and clipping together), "percentile" or "min_max".
            symmetric: the range reaches as far below 0 as above.
        """
        if method not in METHODS:
            raise ConfigError(f"ranges: method must be one of {', '.join(METHODS)}, got {method!r}.")
        low, high = self.low, self.high
        if method == "percentile":
            low, high = self._percentiles()
        if symmetric:
            low, high = min(low, -high), max(high, -low)
        if method == "squared_error" and self.counts.any():
            low, high = self._least_error(low, high, levels, symmetric)
        return low, high

    def _percentiles(self) -> tuple[float, float]:
        if not self.counts.any():
            return 0.0, 0.0
        shares = np.cumsum(self.counts) / self.counts.sum()
        tail = (1 - PERCENTILE / 100) / 2
        edges = self.low + np.arange(BINS + 1) * (self.high - self.low) / BINS
        low, high = edges[np.searchsorted(shares, tail, side="right")], edges[np.searchsorted(shares, 1 - tail) + 1]
        return min(float(low), 0.0), max(float(high), 0.0)

    def _least_error(self, low: float, high: float, levels: int, symmetric: bool) -> tuple[float, float]:
        """Tries shorter ranges, one end after the other, as long as the error falls."""
        values, counts = self._centers(), self.counts
        values, counts = values[counts > 0], counts[counts > 0]
        spread = (self.high - self.low) / BINS

        def error(low: float, high: float) -> float:
            step = max((high - low) / (levels - 1), 1e-300)
            clipped = np.clip(values, low, high)
            rounded = np.round(clipped / step) * step
            # Inside a bin values are spread; where a step is finer than a bin, the center says nothing of rounding.
            inside = step**2 / 12 if step < spread else (rounded - clipped) ** 2
            return float((((clipped - values) ** 2 + inside) * counts).sum())

        if symmetric:
            best = min(_SHRINKS, key=lambda share: error(low * share, high * share))
            return low * best, high * best
        best_low, best_high = low, high
        for _ in range(2):
            best_high = high * min(_SHRINKS, key=lambda share: error(best_low, high * share))
            best_low = low * min(_SHRINKS, key=lambda share: error(low * share, best_high))
        return float(best_low), float(best_high)

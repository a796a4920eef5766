"""Weights rounded so that a dense layer gives what it gave, not each to its nearest integer.

Of y = W x + b the rounding error is (W' - W) x. Its mean over real activations goes into the bias. Its variance is the
sum of d C d over the outputs, with a row d of W' - W and the covariance C of the activations. Inputs are rounded one
after the other, and those that are not rounded yet take over what they can of each error (Frantar et al., "GPTQ",
2022, section 3). It takes a solved system of equations per layer, once, and costs nothing where the file runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .integers import PAIR_LIMIT, WEIGHT_LIMIT

DAMPING = 0.01  # of the mean variance, added to each: few texts show less than all directions
_COLUMNS = 64  # whose errors are gathered before the columns after them change


@dataclass
class Moments:
    """Mean and covariance of the activations (rows, in) that a dense layer reads."""

    count: int = 0
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    products: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, rows: np.ndarray) -> None:
        rows = rows.astype(np.float64)
        if not self.count:
            self.total, self.products = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows

    @property
    def mean(self) -> np.ndarray:
        """Of each feature, (in,)."""
        return self.total / max(self.count, 1)

    @property
    def covariance(self) -> np.ndarray:
        """Of the features, (in, in)."""
        return self.products / max(self.count, 1) - np.outer(self.mean, self.mean)


def rounded(weight: np.ndarray, scales: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The integers of a matrix (out, in) with a scale for each output: int8, the same shape.

    Args:
        covariance: of the inputs, (in, in).
    """
    left, steps = weight.astype(np.float64), scales.astype(np.float64)
    size = left.shape[1]
    damped = covariance + np.eye(size) * max(DAMPING * np.trace(covariance) / size, np.finfo(np.float32).tiny)
    solved = np.linalg.cholesky(np.linalg.inv(damped)).T
    integers = np.zeros_like(left)
    for start in range(0, size, _COLUMNS):
        end = min(start + _COLUMNS, size)
        errors = np.zeros((len(left), end - start))
        for column in range(start, end):
            before = integers[:, column - 1] if column % 2 else np.zeros(len(left))
            integers[:, column] = _nearest(left[:, column] / steps, before)
            error = (left[:, column] - integers[:, column] * steps) / solved[column, column]
            errors[:, column - start] = error
            left[:, column + 1 : end] -= np.outer(error, solved[column, column + 1 : end])
        left[:, end:] -= errors @ solved[start:end, end:]
    return integers.astype(np.int8)


def _nearest(values: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Integers nearest to values, none of which overflows with the integer before it in its pair."""
    lowest = np.maximum(-PAIR_LIMIT - np.minimum(before, 0), -WEIGHT_LIMIT)
    highest = np.minimum(PAIR_LIMIT - np.maximum(before, 0), WEIGHT_LIMIT)
    return np.clip(np.round(values), lowest, highest)

"""From scores to probabilities, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def softmax(scores: Any) -> np.ndarray:
    """Probabilities over the last axis, which add up to 1 whatever the size of the scores."""
    scores = np.asarray(scores, np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(scores: Any) -> np.ndarray:
    """Each score by itself as a probability; exact at both ends."""
    scores = np.asarray(scores, np.float64)
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)


def best_first(scores: np.ndarray, count: int | None = None) -> list[int]:
    """Indices of the highest scores; of equal ones the lower index first."""
    return [int(index) for index in np.argsort(-scores, kind="stable")[:count]]

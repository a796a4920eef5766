"""Floats as integers of 8 bits: symmetric with a scale for each output of a matrix, asymmetric for activations.

    weight      w = scale * q            q in -127..127, one scale for each output; zero is 0
    activation  x = scale * (q - zero)   q in 0..levels - 1, one scale for all

x86 processors without VNNI multiply unsigned activations by signed weights in pairs of neighbouring inputs and add the
two products in 16 bits, which overflow without a word: 255 * (127 + 127) > 32,767. Here the scale of an output is
that of its largest pair, so that no pair can reach that. It costs about a third of a bit, and a file gives the same
answers on every processor.
"""

from __future__ import annotations

import numpy as np

WEIGHT_LIMIT = 127
PAIR_LIMIT = 128  # of two neighbouring integers of one sign together: 255 * 128 < 2**15
LEVELS = 256  # of an activation
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def weight_scales(weight: np.ndarray) -> np.ndarray:
    """The scale of each output of a matrix (out, in): float32 (out,)."""
    weight = np.asarray(weight, np.float64)
    if weight.shape[1] % 2:
        weight = np.pad(weight, ((0, 0), (0, 1)))
    pairs = weight.reshape(len(weight), -1, 2)
    largest = [np.maximum(sign * pairs, 0).sum(-1).max(-1, initial=0.0) for sign in (1, -1)]
    return np.maximum(np.maximum(*largest) / WEIGHT_LIMIT, SMALLEST_SCALE).astype(np.float32)


def row_scales(table: np.ndarray) -> np.ndarray:
    """The scale of each row of a table of embeddings (rows, width): float32 (rows,)."""
    largest = np.abs(table).max(axis=1, initial=0.0) / WEIGHT_LIMIT
    return np.maximum(largest, SMALLEST_SCALE).astype(np.float32)


def as_int8(weight: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The integers of a matrix or table whose first axis the scales belong to: int8, the same shape."""
    divided = np.asarray(weight, np.float64) / scales.astype(np.float64)[:, None]
    return np.clip(np.round(divided), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)


def activation_scale(low: float, high: float, levels: int = LEVELS) -> tuple[np.float32, int]:
    """Scale and zero point of activations from low to high, which zero lies between; zero is represented exactly."""
    scale = np.float32(max((high - low) / (levels - 1), SMALLEST_SCALE))
    return scale, int(np.clip(np.round(-low / float(scale)), 0, levels - 1))

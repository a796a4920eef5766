"""A Keras model that computes with the rounding of int8. What is rounded stands in mobilebert_core/quantization.

Twin: mobilebert_torch/fake_quantization.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.quantization.integers import LEVELS, SMALLEST_SCALE, WEIGHT_LIMIT
from mobilebert_core.quantization.training import RATE, UNSEEN, Ranges, trained_places

from .variables import variable_array


def rounded_activation(x: Any, low: Any, high: Any) -> Any:
    """x on LEVELS values between low and high; the gradient is 1 inside of them and 0 outside."""
    low, high = ops.minimum(low, 0), ops.maximum(high, 0)
    scale = ops.maximum((high - low) / (LEVELS - 1), SMALLEST_SCALE)
    zero = ops.clip(ops.round(-low / scale), 0, LEVELS - 1)
    inside = ops.clip(x, -zero * scale, (LEVELS - 1 - zero) * scale)
    return inside + ops.stop_gradient(ops.round(inside / scale) * scale - inside)


def rounded_weight(weight: Any) -> Any:
    """A kernel (in, out) as its integers stand for it; the gradient is 1."""
    fixed = ops.stop_gradient(weight)
    size, width = fixed.shape
    pairs = ops.reshape(ops.pad(fixed, ((0, size % 2), (0, 0))), (-1, 2, width))
    sums = (ops.max(ops.sum(ops.maximum(sign * pairs, 0), axis=1), axis=0) for sign in (1, -1))
    scale = ops.maximum(ops.maximum(*sums) / WEIGHT_LIMIT, SMALLEST_SCALE)
    return weight + (ops.round(fixed / scale) * scale - fixed)


class FakeQuantization:
    """Makes the dense layers of a model round. Its weights and its files stay what they are.

    The ranges move inside `moving`, and stand still outside; a graph is recorded for the one or the other.
    """

    def __init__(self, model: Any) -> None:
        self._moves = False
        weights = trained_places(model.weight_table())
        layers = {place: model._layer_of(weight) for place, weight in weights.items()}
        self._ranges = {
            place: keras.Variable(np.array(UNSEEN), dtype=layer.kernel.dtype, trainable=False)
            for place, layer in layers.items()
        }
        for place, layer in layers.items():
            object.__setattr__(layer, "call", partial(self._dense, layer, self._ranges[place]))

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Batches inside the block move the ranges."""
        self._moves = True
        try:
            yield
        finally:
            self._moves = False

    def ranges(self) -> dict[str, np.ndarray]:
        """The lowest and the highest input of each dense layer, (2,)."""
        return {place: variable_array(found) for place, found in self._ranges.items()}

    def assign(self, ranges: Ranges) -> None:
        """Gives ranges new values."""
        for place, found in ranges.items():
            self._ranges[place].assign(np.asarray(found))

    def _dense(self, layer: Any, known: Any, x: Any, training: Any = None) -> Any:
        seen = ops.stop_gradient(x)
        now = ops.stack([ops.min(seen), ops.max(seen)])
        current = ops.convert_to_tensor(known)
        current = ops.where(current[0] > current[1], now, current)
        if self._moves:
            current = RATE * current + (1 - RATE) * now
            known.assign(current)
        y = ops.matmul(rounded_activation(x, current[0], current[1]), rounded_weight(layer.kernel))
        return y if layer.bias is None else y + layer.bias

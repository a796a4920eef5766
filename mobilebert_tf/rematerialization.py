"""Gradient checkpointing: a layer whose inner values are computed again for its gradient."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .variables import seed_generators


def rematerialized(layer: keras.layers.Layer, options: dict[str, Any], x: Any, *optional: Any) -> Any:
    """The layer in training, through `keras.remat`, which takes nothing but arrays.

    The block runs twice, forward and again for its gradient: both must have the same dropout, so both start
    from the random states read here.
    """
    present = [value is not None for value in optional]
    seeds = seed_generators(layer)
    states = [(seed.state, ops.copy(seed.state)) for seed in seeds]

    def run(x: Any, *passed: Any) -> Any:
        values = iter(passed)
        arguments = [next(values) if here else None for here in present]
        with keras.StatelessScope(state_mapping=states):
            return layer(x, *arguments, **options)

    result = keras.remat(run)(x, *(value for value in optional if value is not None))
    for seed in seeds:
        seed.next()
    return result

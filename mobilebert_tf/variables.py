"""Keras variables: as numpy arrays, replaced by others of another shape, and those that hold random states."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def variable_array(variable: Any) -> np.ndarray:
    """A copy of a variable's value. (By way of a tensor: numpy 2 warns of TensorFlow's variables.)"""
    return ops.convert_to_numpy(ops.copy(variable))


def replace_variable(layer: keras.layers.Layer, attribute: str, value: np.ndarray) -> None:
    """Puts a new variable holding `value` where a built layer has one, as Keras does when it quantizes.

    It takes the old one's place in the layer's order too, on which saved optimizers rely.
    """
    old = getattr(layer, attribute)
    lists = (layer._trainable_variables, layer._non_trainable_variables)  # freezing moves no variable between them
    tracked = next(found for found in lists if any(variable is old for variable in found))
    place = [id(variable) for variable in tracked].index(id(old))
    layer._tracker.unlock()
    layer._untrack_variable(old)
    new = layer.add_weight(
        name=old.name, shape=value.shape, dtype=old.dtype, initializer="zeros", trainable=tracked is lists[0]
    )
    new.trainable = old.trainable
    new.assign(value)
    setattr(layer, attribute, new)
    tracked.insert(place, tracked.pop())
    layer._tracker.lock()


def seed_generators(layer: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """The generators of the random numbers that a layer and the layers inside it use in training."""
    return [
        part.seed_generator for part in layer._flatten_layers() if getattr(part, "seed_generator", None) is not None
    ]

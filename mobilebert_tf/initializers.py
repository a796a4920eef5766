"""How the weights of the Keras models start."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from mobilebert_core.weights import Weight

from .serialization import serializable


@serializable
class PaddedInitializer(keras.initializers.Initializer):
    """Another initializer with one row, the padding token's, set to 0."""

    def __init__(self, initializer: Any, row: int) -> None:
        self.initializer = keras.initializers.get(initializer)
        self.row = row

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        kept = ops.cast(ops.arange(shape[0]) != self.row, dtype or keras.config.floatx())
        return self.initializer(shape, dtype) * kept[:, None]

    def get_config(self) -> dict[str, Any]:
        return {"initializer": keras.initializers.serialize(self.initializer), "row": self.row}


def weight_initializer(initializer_range: float) -> Any:
    """A normal distribution cut at two standard deviations, with new numbers for every matrix.

    With a plain seed Keras would give matrices of one shape the same numbers.
    """
    return keras.initializers.TruncatedNormal(stddev=initializer_range, seed=keras.random.SeedGenerator())


def padded_initializer(initializer: Any, row: int | None) -> Any:
    """The initializer of the word embeddings: that of the other tables, the padding row at 0."""
    return initializer if row is None or initializer == "zeros" else PaddedInitializer(initializer, row)


def start_weight(variable: Any, weight: Weight, initializer: Any, pad_token_id: int | None) -> None:
    """Newly initializes a weight of a model that was built with zeros."""
    if len(weight.shape) > 1:
        initializer = padded_initializer(initializer, pad_token_id) if weight.kind == "word_table" else initializer
        variable.assign(initializer(variable.shape, dtype=variable.dtype))
    elif weight.kind.endswith(("norm", "gain")) and weight.name.endswith("weight"):
        variable.assign(ops.ones(variable.shape, variable.dtype))

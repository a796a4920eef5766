"""Changes to the shapes of Keras layers: another vocabulary, fewer attention heads.

A Keras variable keeps its shape for life, so each resized one is replaced by a new variable of its layer. The model
that holds the layers writes its configuration. Twin: mobilebert_torch/resizing.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .layers import LMPredictionHead
from .variables import replace_variable, variable_array


def resize_token_embeddings(
    embeddings: keras.layers.Embedding,
    predictions: LMPredictionHead | None,
    size: int,
    tied: bool,
    initializer_range: float,
) -> None:
    """Gives the word embeddings and the predictions `size` words. A tied decoder is the word embeddings."""

    def resized(old: Any, axis: int, bias: bool = False) -> np.ndarray:
        array = variable_array(old)
        shape = tuple(size if i == axis else n for i, n in enumerate(array.shape))
        initializer = keras.initializers.TruncatedNormal(stddev=initializer_range)
        new = (
            np.zeros(shape, array.dtype)
            if bias
            else np.array(ops.convert_to_numpy(initializer(shape, dtype="float32")))
        )
        kept = [slice(0, min(size, n)) if i == axis else slice(None) for i, n in enumerate(array.shape)]
        new[tuple(kept)] = array[tuple(kept)]
        return new

    replace_variable(embeddings, "_embeddings", resized(embeddings.embeddings, 0))
    embeddings.input_dim = size
    if predictions is None:
        return
    if not tied:
        replace_variable(predictions.decoder, "_embeddings", resized(predictions.decoder.embeddings, 0))
        predictions.decoder.input_dim = size
    replace_variable(predictions.dense, "_kernel", resized(predictions.dense.kernel, 1))
    predictions.dense.units = size
    replace_variable(predictions, "bias", resized(predictions.bias, 0, bias=True))
    predictions.vocab_size = size


def prune_heads(layers: Sequence[Any], features: Mapping[int, Sequence[int]], head_size: int) -> None:
    """Leaves each layer that `features` names only these features of query, key and value."""
    for index, kept in features.items():
        attention = layers[index].attention
        for dense in (attention.self.query, attention.self.key, attention.self.value):
            replace_variable(dense, "_kernel", variable_array(dense.kernel)[:, kept])
            replace_variable(dense, "bias", variable_array(dense.bias)[kept])
            dense.units = len(kept)
        output = attention.output_.dense
        replace_variable(output, "_kernel", variable_array(output.kernel)[kept])
        output.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: len(kept)})
        attention.self.num_attention_heads = len(kept) // head_size

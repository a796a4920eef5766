"""Changes to the structure of a Keras model: another vocabulary, fewer attention heads.

A Keras variable keeps its shape for life, so each touched one is replaced by a new variable of its layer.
Twin: mobilebert_torch/resizing.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.errors import ConfigError
from mobilebert_core.resizing import resized_vocabulary, surviving_features

from .variables import replace_variable, variable_array

if TYPE_CHECKING:
    from .pretrained import TFMobileBertPreTrainedModel


def resize_token_embeddings(
    model: TFMobileBertPreTrainedModel, new_num_tokens: int | None, pad_to_multiple_of: int | None
) -> keras.layers.Embedding:
    """See `TFMobileBertPreTrainedModel.resize_token_embeddings`."""
    _without_adapters(model, "resize_token_embeddings")
    embeddings = model.get_input_embeddings()
    size = resized_vocabulary(model.config, new_num_tokens, pad_to_multiple_of)
    if size == embeddings.input_dim:
        return embeddings
    predictions = model._predictions()

    def resized(old: Any, axis: int, bias: bool = False) -> np.ndarray:
        array = variable_array(old)
        shape = tuple(size if i == axis else n for i, n in enumerate(array.shape))
        initializer = keras.initializers.TruncatedNormal(stddev=model.config.initializer_range)
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
    if predictions is not None:
        if predictions.decoder is not embeddings:
            replace_variable(predictions.decoder, "_embeddings", resized(predictions.decoder.embeddings, 0))
            predictions.decoder.input_dim = size
        replace_variable(predictions.dense, "_kernel", resized(predictions.dense.kernel, 1))
        predictions.dense.units = size
        replace_variable(predictions, "bias", resized(predictions.bias, 0, bias=True))
        predictions.vocab_size = size
    model.config = model.config.copy(vocab_size=size)  # another model may have been built from the same one
    start_over(model)
    return embeddings


def prune_heads(model: TFMobileBertPreTrainedModel, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
    """See `TFMobileBertPreTrainedModel.prune_heads`."""
    _without_adapters(model, "prune_heads")
    keep, pruned = surviving_features(model.config, heads_to_prune)
    for index, features in keep.items():
        attention = model.mobilebert.encoder.layer[index].attention
        for dense in (attention.self.query, attention.self.key, attention.self.value):
            replace_variable(dense, "_kernel", variable_array(dense.kernel)[:, features])
            replace_variable(dense, "bias", variable_array(dense.bias)[features])
            dense.units = len(features)
        output = attention.output_.dense
        replace_variable(output, "_kernel", variable_array(output.kernel)[features])
        output.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: len(features)})
        attention.self.num_attention_heads = len(features) // model.config.head_size
    model.config = model.config.copy(pruned_heads=pruned)
    if keep:
        start_over(model)


def _without_adapters(model: TFMobileBertPreTrainedModel, method: str) -> None:
    if model.lora is not None:
        raise ConfigError(
            f"{type(model).__name__}.{method}: the model has low-rank adapters, whose shapes would no longer fit. "
            "Merge them first: save_pretrained, then from_pretrained."
        )


def start_over(model: TFMobileBertPreTrainedModel) -> None:
    """Forgets graphs and optimizer state made for the old shapes."""
    if model.compiled:
        model.compile_from_config(model.get_compile_config())
    model.train_function = model.test_function = model.predict_function = None

"""Changes to the structure of a PyTorch model: another vocabulary, fewer attention heads.

Twin: mobilebert_tf/resizing.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mobilebert_core.resizing import resized_vocabulary, surviving_features

from .layers import truncated_normal_

if TYPE_CHECKING:
    from .pretrained import MobileBertPreTrainedModel


@torch.no_grad()
def resize_token_embeddings(
    model: MobileBertPreTrainedModel, new_num_tokens: int | None, pad_to_multiple_of: int | None
) -> nn.Embedding:
    """See `MobileBertPreTrainedModel.resize_token_embeddings`."""
    embeddings = model.get_input_embeddings()
    size = resized_vocabulary(model.config, new_num_tokens, pad_to_multiple_of)
    if size == embeddings.num_embeddings:
        return embeddings
    predictions = model._predictions()

    def resized(old: Tensor, axis: int, bias: bool = False) -> nn.Parameter:
        shape = [size if i == axis else n for i, n in enumerate(old.shape)]
        new = old.new_zeros(shape)
        if not bias:
            truncated_normal_(new, model.config.initializer_range)
        kept = min(size, old.shape[axis])
        new.narrow(axis, 0, kept).copy_(old.narrow(axis, 0, kept))
        return nn.Parameter(new, requires_grad=old.requires_grad)

    embeddings.weight = resized(embeddings.weight, 0)
    embeddings.num_embeddings = size
    if predictions is not None:
        if not model.config.tie_word_embeddings:
            predictions.decoder.weight = resized(predictions.decoder.weight, 0)
        predictions.dense.weight = resized(predictions.dense.weight, 1)
        predictions.bias = resized(predictions.bias, 0, bias=True)
        predictions.decoder.out_features = size
    _configure(model, vocab_size=size)
    model.tie_weights()
    return embeddings


@torch.no_grad()
def prune_heads(model: MobileBertPreTrainedModel, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
    """See `MobileBertPreTrainedModel.prune_heads`."""
    keep, pruned = surviving_features(model.config, heads_to_prune)
    for index, features in keep.items():
        attention = model.base_model.encoder.layer[index].attention
        kept = torch.tensor(features, device=model.device)
        for dense in (attention.self.query, attention.self.key, attention.self.value):
            dense.weight = _parameter(dense.weight, dense.weight[kept])
            dense.bias = _parameter(dense.bias, dense.bias[kept])
            dense.out_features = len(features)
        output = attention.output.dense
        output.weight = _parameter(output.weight, output.weight[:, kept])
        output.in_features = len(features)
        attention.self.num_attention_heads = len(features) // model.config.head_size
    _configure(model, pruned_heads=pruned)


def _configure(model: MobileBertPreTrainedModel, **fields: Any) -> None:
    """Gives the model a configuration of its own: another model may have been built from the same one."""
    model.config = model.config.copy(**fields)
    model.base_model.config = model.config


def _parameter(old: nn.Parameter, new: Tensor) -> nn.Parameter:
    return nn.Parameter(new.contiguous(), requires_grad=old.requires_grad)

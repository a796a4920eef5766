"""Changes to the shapes of PyTorch modules: another vocabulary, fewer attention heads.

The model that holds the modules writes its configuration. Twin: mobilebert_tf/resizing.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_core.errors import ConfigError

from .layers import LMPredictionHead, truncated_normal_


@torch.no_grad()
def resize_token_embeddings(
    embeddings: nn.Embedding, predictions: LMPredictionHead | None, size: int, tied: bool, initializer_range: float
) -> None:
    """Gives the word embeddings and the predictions `size` words. A tied decoder is left to be tied again."""

    _check_plain("resize_token_embeddings", embeddings, *([] if predictions is None else [predictions.dense]))

    def resized(old: Tensor, axis: int, bias: bool = False) -> nn.Parameter:
        shape = [size if i == axis else n for i, n in enumerate(old.shape)]
        new = old.new_zeros(shape)
        if not bias:
            truncated_normal_(new, initializer_range)
        kept = min(size, old.shape[axis])
        new.narrow(axis, 0, kept).copy_(old.narrow(axis, 0, kept))
        return nn.Parameter(new, requires_grad=old.requires_grad)

    embeddings.weight = resized(embeddings.weight, 0)
    embeddings.num_embeddings = size
    if predictions is None:
        return
    if not tied:
        predictions.decoder.weight = resized(predictions.decoder.weight, 0)
    predictions.decoder.out_features = size
    predictions.dense.weight = resized(predictions.dense.weight, 1)
    predictions.bias = resized(predictions.bias, 0, bias=True)


@torch.no_grad()
def prune_heads(layers: Sequence[Any], features: Mapping[int, Sequence[int]], head_size: int) -> None:
    """Leaves each layer that `features` names only these features of query, key and value."""
    for index in features:
        attention = layers[index].attention
        _check_plain(
            "prune_heads", *(getattr(attention.self, n) for n in ("query", "key", "value")), attention.output.dense
        )
    for index, kept in features.items():
        attention = layers[index].attention
        rows = torch.tensor(kept, device=attention.self.query.weight.device)
        for dense in (attention.self.query, attention.self.key, attention.self.value):
            dense.weight = _parameter(dense.weight, dense.weight[rows])
            dense.bias = _parameter(dense.bias, dense.bias[rows])
            dense.out_features = len(kept)
        output = attention.output.dense
        output.weight = _parameter(output.weight, output.weight[:, rows])
        output.in_features = len(kept)
        attention.self.num_attention_heads = len(kept) // head_size


def _check_plain(call: str, *modules: nn.Module) -> None:
    """Raises ConfigError for a module whose weight is computed from others; nothing has been changed then."""
    for module in modules:
        if "weight" not in dict(module.named_parameters(recurse=False)):
            raise ConfigError(
                f"{call}: wanted modules that hold their weight, got a {type(module).__name__} that computes it. Call "
                "torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.prune.remove or PEFT's "
                "merge_and_unload first."
            )


def _parameter(old: nn.Parameter, new: Tensor) -> nn.Parameter:
    return nn.Parameter(new.contiguous(), requires_grad=old.requires_grad)

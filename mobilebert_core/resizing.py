"""The arithmetic of changing a model's structure: vocabulary sizes and surviving attention heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .configuration.config import MobileBertConfig
from .errors import ConfigError


def resized_vocabulary(
    config: MobileBertConfig, new_num_tokens: int | None, pad_to_multiple_of: int | None, mean_resizing: bool = False
) -> int:
    """The vocabulary size asked for, rounded up to a multiple.

    Raises:
        ConfigError: for sizes that are no whole numbers above 0, a vocabulary without the padding token, or new rows
            that are to start at the mean of the others.
    """
    if mean_resizing:
        raise ConfigError(
            f"resize_token_embeddings: mean_resizing={mean_resizing!r} cannot be honoured: new rows start like newly "
            "initialized weights. Leave it out, and assign to them what they are to start with."
        )
    size = config.vocab_size if new_num_tokens is None else new_num_tokens
    size = size.item() if isinstance(size, np.integer) else size
    if not _is_size(size):
        raise ConfigError(f"resize_token_embeddings: new_num_tokens must be a whole number above 0, got {size!r}.")
    if pad_to_multiple_of is not None and not _is_size(pad_to_multiple_of):
        raise ConfigError(
            f"resize_token_embeddings: pad_to_multiple_of must be a whole number above 0, got {pad_to_multiple_of!r}."
        )
    if pad_to_multiple_of is not None:
        size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
    if config.pad_token_id is not None and config.pad_token_id >= size:
        raise ConfigError(f"resize_token_embeddings: {size} words leave no row for pad_token_id {config.pad_token_id}.")
    config.copy(vocab_size=size).validate()  # that such a model can be at all, before memory is taken
    return size


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def surviving_features(
    config: MobileBertConfig, heads_to_prune: Mapping[int, Iterable[int]]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """What is left of each touched layer's query, key and value, and the new `pruned_heads`.

    The features are numbered as the layer has them now; heads are numbered as before any pruning, and heads
    already gone are passed over. Layers below 0 count from the last.

    Raises:
        ConfigError: for a layer or head that does not exist, a layer left without heads, or a folded model.
    """
    if config.folding is not None:
        raise ConfigError(
            f"prune_heads: wanted a model as it was trained, got a folded one (folding {config.folding!r}). "
            "Prune first and fold the result."
        )
    asked = config.copy(pruned_heads=heads_to_prune)
    asked.validate()
    layers = config.pruned_heads.keys() | asked.pruned_heads.keys()
    resulting = config.copy(
        pruned_heads={n: config.pruned_heads.get(n, []) + asked.pruned_heads.get(n, []) for n in sorted(layers)}
    )
    resulting.validate()
    pruned = resulting.pruned_heads
    keep = {}
    for layer, gone in pruned.items():
        present = [h for h in range(config.num_attention_heads) if h not in config.pruned_heads.get(layer, ())]
        kept = [i for i, head in enumerate(present) if head not in gone]
        if len(kept) < len(present):
            size = config.head_size
            keep[layer] = [head * size + d for head in kept for d in range(size)]
    return keep, pruned

"""The TINY model of the tests: sizes that are pairwise different, so that a missed transpose fails by shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from conversion.parity.sample import labels_for
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATION_TABLE
from mobilebert_core.heads import HEADS, Head

TINY: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "embedding_size": 20,
    "intra_bottleneck_size": 32,
    "intermediate_size": 40,
    "max_position_embeddings": 37,
    "type_vocab_size": 3,
    "num_hidden_layers": 2,
    "num_feedforward_networks": 2,
}

# Every branch of the configuration, by name, as what it changes in TINY.
BRANCHES: dict[str, dict[str, Any]] = {
    "released": {"classifier_activation": False},
    "pooler": {"classifier_activation": True},
    "bottleneck_attention": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False},
    "bottleneck_attention_shared": {"use_bottleneck_attention": True},
    "unshared": {"key_query_shared_bottleneck": False},
    "teacher": {
        "key_query_shared_bottleneck": False,
        "intra_bottleneck_size": 64,
        "normalization_type": "layer_norm",
        "hidden_act": "gelu_new",
        "num_feedforward_networks": 1,
    },
    "no_bottleneck": {"use_bottleneck": False},
    "layer_norm": {"normalization_type": "layer_norm"},
    "layer_norm_large_epsilon": {"normalization_type": "layer_norm", "layer_norm_eps": 0.1},
    **{each.names[0]: {"hidden_act": each.names[0]} for each in ACTIVATION_TABLE if each.names[0] != "relu"},
    "no_trigram": {"trigram_input": False},
    "embedding_is_hidden": {"trigram_input": False, "embedding_size": 48},
    "one_ffn": {"num_feedforward_networks": 1},
    "six_ffn": {"num_feedforward_networks": 6},
    "untied": {"tie_word_embeddings": False},
    "padding_invariant": {"padding_invariant": True},
    "no_padding_token": {"pad_token_id": None},
    "pruned": {"pruned_heads": {0: [1, 2], 1: [0]}},
    "no_layers": {"num_hidden_layers": 0},
    "folded_block": {"folding": "block", "kept_norms": ["encoder.layer.1.attention.output"]},
    "folded_all": {"folding": "all", "kept_norms": ["encoder.layer.0.ffn.0.output", "encoder.layer.0.output"]},
    "folded_half": {"folding": "half"},
    "folded_no_bottleneck": {"folding": "all", "use_bottleneck": False, "pruned_heads": {0: [1]}},
}

# Those that differ in more than a function of single numbers: for what tokens are computed, and how weights are stored.
STRUCTURES = [name for name, changes in BRANCHES.items() if changes.keys() != {"hidden_act"}]


def tiny_config(**overrides: Any) -> MobileBertConfig:
    return MobileBertConfig(**{**TINY, **overrides})


def tiny_batch(
    config: MobileBertConfig, head: Head | str, batch: int = 3, length: int = 11, labels: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random ids with padding at the end of one row, segments, and labels."""
    head = HEADS[head] if isinstance(head, str) else head
    rng = np.random.default_rng(seed)
    shape = (batch, 4, length) if head.per_choice else (batch, length)
    ids = rng.integers(1, config.vocab_size, shape).astype(np.int32)
    mask = np.ones(shape, np.int32)
    ids[-1, ..., length - 4 :] = 0
    mask[-1, ..., length - 4 :] = 0
    types = rng.integers(0, config.type_vocab_size, shape).astype(np.int32)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {**inputs, **(labels_for(config, head, shape, seed) if labels else {})}

"""What makes a configuration impossible: every field by itself, and fields against each other."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .fields import ACTIVATIONS, ATTENTION_IMPLEMENTATIONS, DTYPES, NORMALIZATION_TYPES, PROBLEM_TYPES

if TYPE_CHECKING:
    from .config import MobileBertConfig


def faults(config: MobileBertConfig, building: bool) -> list[str]:
    """All that is wrong, in words; `building` as in `MobileBertConfig.validate`."""
    wrong: list[str] = []
    at_least = {
        "vocab_size": 1, "hidden_size": int(building), "num_hidden_layers": 0, "num_attention_heads": 1,
        "intermediate_size": 1, "max_position_embeddings": 1, "type_vocab_size": 1, "embedding_size": 1,
        "intra_bottleneck_size": 1, "num_feedforward_networks": 1,
    }  # fmt: skip
    for name, least in at_least.items():
        value = getattr(config, name)
        if not is_int(value) or value < least:
            wrong.append(f"{name} must be a whole number of at least {least}, got {value!r}")
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        value = getattr(config, name)
        if not (value is None and name == "classifier_dropout") and not (_is_number(value) and 0 <= value < 1):
            wrong.append(f"{name} must be a number from 0 up to but not including 1, got {value!r}")
    for name in ("initializer_range", "layer_norm_eps"):
        if not _is_number(getattr(config, name)) or getattr(config, name) < 0:
            wrong.append(f"{name} must be a number of at least 0, got {getattr(config, name)!r}")
    for name, choices in (
        ("hidden_act", tuple(ACTIVATIONS)),
        ("normalization_type", NORMALIZATION_TYPES),
        ("problem_type", (None, *PROBLEM_TYPES)),
        ("attn_implementation", (None, *ATTENTION_IMPLEMENTATIONS)),
        ("dtype", (None, *DTYPES)),
    ):
        value = getattr(config, name)
        if not isinstance(value, str | None) or value not in choices:
            wrong.append(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    for f in fields(config):
        if f.type == "bool" and not isinstance(getattr(config, f.name), bool):
            wrong.append(f"{f.name} must be True or False, got {getattr(config, f.name)!r}")
    if not wrong:
        wrong += _conflicts(config)
        wrong += _pruning_conflicts(config) if building else []
    return wrong


def _conflicts(config: MobileBertConfig) -> list[str]:
    wrong = []
    if config.true_hidden_size % config.num_attention_heads:
        width = "intra_bottleneck_size" if config.use_bottleneck else "hidden_size"
        wrong.append(
            f"{width} {config.true_hidden_size} is not divisible by num_attention_heads {config.num_attention_heads}"
        )
    pad = config.pad_token_id
    if pad is not None and not (is_int(pad) and -config.vocab_size <= pad < config.vocab_size):
        wrong.append(f"pad_token_id must be None or an id below vocab_size {config.vocab_size}, got {pad!r}")
    return wrong


def _pruning_conflicts(config: MobileBertConfig) -> list[str]:
    try:
        pruned = {int(layer): {int(head) for head in heads} for layer, heads in config.pruned_heads.items()}
    except (TypeError, ValueError, AttributeError):
        return [f"pruned_heads maps layers to lists of heads, e.g. {{0: [1, 2]}}, got {config.pruned_heads!r}"]
    wrong = []
    for layer, heads in pruned.items():
        if not 0 <= layer < config.num_hidden_layers or any(not 0 <= h < config.num_attention_heads for h in heads):
            wrong.append(
                f"pruned_heads names layer {layer}, heads {sorted(heads)}; there are {config.num_hidden_layers} "
                f"layers of {config.num_attention_heads} heads"
            )
        elif len(heads) >= config.num_attention_heads:
            wrong.append(f"pruned_heads leaves no attention head in layer {layer}")
    return wrong


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

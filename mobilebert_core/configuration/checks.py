"""What makes a configuration impossible: every field by itself, and fields against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .fields import (
    ACTIVATIONS,
    ATTENTION_IMPLEMENTATIONS,
    DTYPES,
    FOLDINGS,
    NORMALIZATION_TYPES,
    PROBLEM_TYPES,
    ConfigFields,
)

# More than any model has: a damaged file is found out before memory is asked for.
MOST_LABELS = 1_000_000
_MOST_PARAMETERS = 10**12
_MOST_NETWORKS = 100_000  # feed-forward networks of all layers
_HUGE = 10**308  # whole numbers may be larger than any float

Values = Mapping[str, Any]  # of the fields, and of `true_hidden_size`


def faults(values: Values, building: bool) -> list[str]:
    """All that is wrong, in words; `building` as in `MobileBertConfig.validate`."""
    wrong: list[str] = []
    at_least = {
        "vocab_size": 1, "hidden_size": int(building), "num_hidden_layers": 0, "num_attention_heads": 1,
        "intermediate_size": 1, "max_position_embeddings": 1, "type_vocab_size": 1, "embedding_size": 1,
        "intra_bottleneck_size": 1, "num_feedforward_networks": 1,
    }  # fmt: skip
    for name, least in at_least.items():
        value = values[name]
        if not is_int(value) or value < least:
            wrong.append(f"{name} must be a whole number of at least {least}, got {value!r}")
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        value = values[name]
        if not (value is None and name == "classifier_dropout") and not (_is_number(value) and 0 <= value < 1):
            wrong.append(f"{name} must be a number from 0 up to but not including 1, got {value!r}")
    for name in ("initializer_range", "layer_norm_eps"):
        if not _is_number(values[name]) or values[name] < 0:
            wrong.append(f"{name} must be a number of at least 0, got {values[name]!r}")
    mask_value = values["mask_value"]
    if mask_value is not None and not (_is_number(mask_value) and -math.inf < mask_value < 0):
        wrong.append(f"mask_value must be None or a finite number below 0, got {mask_value!r}")
    for name, choices in (
        ("hidden_act", tuple(ACTIVATIONS)),
        ("normalization_type", NORMALIZATION_TYPES),
        ("folding", (None, *FOLDINGS)),
        ("problem_type", (None, *PROBLEM_TYPES)),
        ("attn_implementation", (None, *ATTENTION_IMPLEMENTATIONS)),
        ("dtype", (None, *DTYPES)),
    ):
        value = values[name]
        if not isinstance(value, str | None) or value not in choices:
            wrong.append(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    for f in fields(ConfigFields):
        if f.type == "bool" and not isinstance(values[f.name], bool):
            wrong.append(f"{f.name} must be True or False, got {values[f.name]!r}")
    if not wrong:
        wrong += _conflicts(values)
        wrong += _pruning_conflicts(values, building) + (_too_large(values) if building else [])
    return wrong


def _conflicts(values: Values) -> list[str]:
    wrong = []
    width, heads = values["true_hidden_size"], values["num_attention_heads"]
    if width % heads:
        name = "intra_bottleneck_size" if values["use_bottleneck"] else "hidden_size"
        wrong.append(f"{name} {width} is not divisible by num_attention_heads {heads}")
    pad, words = values["pad_token_id"], values["vocab_size"]
    if pad is not None and not (is_int(pad) and -words <= pad < words):
        wrong.append(f"pad_token_id must be None or an id below vocab_size {words}, got {pad!r}")
    return wrong + _folding_conflicts(values)


def _folding_conflicts(values: Values) -> list[str]:
    kept = values["kept_norms"]
    if not isinstance(kept, list) or not all(isinstance(name, str) for name in kept):
        return [f"kept_norms must be a list of names such as 'encoder.layer.0.ffn.1.output', got {kept!r}"]
    if values["folding"] is None:
        return [f"kept_norms is of folded models, got {kept!r} without folding"] if kept else []
    if kept and values["folding"] == "half":
        return [f"kept_norms is of the foldings 'block' and 'all', got {kept!r} with 'half', which keeps them all"]
    if values["normalization_type"] != "no_norm":
        return [f"folding needs normalization_type 'no_norm', got {values['normalization_type']!r}"]
    places = {"attention.output", "output", *(f"ffn.{i}.output" for i in range(values["num_feedforward_networks"] - 1))}
    places |= {"output.bottleneck"} if values["use_bottleneck"] else set()
    known = {f"encoder.layer.{layer}.{place}" for layer in range(values["num_hidden_layers"]) for place in places}
    unknown = sorted(set(kept) - known)
    return [f"kept_norms names {unknown[0]!r}, which has no norm after a sum"] if unknown else []


def _pruning_conflicts(values: Values, building: bool) -> list[str]:
    """That there is no mapping of layers to heads; of one that is to be built, also that they are not there."""
    try:
        pruned = {int(layer): {int(head) for head in heads} for layer, heads in values["pruned_heads"].items()}
        if any(int(head) != float(head) for heads in values["pruned_heads"].values() for head in heads):
            raise ValueError
    except (TypeError, ValueError, AttributeError):
        return [f"pruned_heads maps layers to lists of heads, e.g. {{0: [1, 2]}}, got {values['pruned_heads']!r}"]
    wrong = []
    layers, count = values["num_hidden_layers"], values["num_attention_heads"]
    for layer, heads in pruned.items() if building else ():
        if not 0 <= layer < layers or any(not 0 <= head < count for head in heads):
            wrong.append(
                f"pruned_heads names layer {layer}, heads {sorted(heads)}; there are {layers} layers of {count} heads"
            )
        elif len(heads) >= count:
            wrong.append(f"pruned_heads leaves no attention head in layer {layer}")
    return wrong


def _too_large(values: Values) -> list[str]:
    words, hidden, width = values["vocab_size"], values["hidden_size"], values["true_hidden_size"]
    layers, networks = values["num_hidden_layers"], values["num_feedforward_networks"]
    if layers * networks > _MOST_NETWORKS or layers > _MOST_NETWORKS:
        return [f"num_hidden_layers {layers} times num_feedforward_networks {networks} is above {_MOST_NETWORKS}"]
    rows = words + values["max_position_embeddings"] + values["type_vocab_size"] + 3 * values["embedding_size"]
    block = width * (4 * hidden + 2 * networks * values["intermediate_size"])
    about = rows * max(hidden, values["embedding_size"]) + layers * block
    if about > _MOST_PARAMETERS:
        return [f"its sizes make about {min(about, _HUGE):.0e} parameters, wanted at most {_MOST_PARAMETERS:.0e}"]
    return []


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE

"""Checkpoints of Google's TF1 code (google-research/mobilebert), read under PyTorch's names and orientation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...configuration.config import MobileBertConfig
from ...configuration.fields import ACTIVATION_TABLE, ACTIVATIONS
from ...errors import CheckpointError
from ...weights import Weight
from ..tensor_info import MappedCheckpoint, WeightFile, by_name

# What that code assumes for a field its JSON does not have; much of it differs from the defaults of transformers.
_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 16, "initializer_range": 0.02, "trigram_input": False,
    "use_bottleneck": False, "use_bottleneck_attention": False, "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1, "normalization_type": "layer_norm", "classifier_activation": True,
}  # fmt: skip
# The name in that code: ours.
_ACTIVATIONS = {a.google: a.names[0] for a in ACTIVATION_TABLE if a.google is not None}
# A layer norm spelled out, with an epsilon of its own.
_MANUAL_NORM, _MANUAL_EPSILON = "manual_layer_norm", 1e-6
GOOGLE_JSON = "bert_config.json"  # as that code's users call it
# The first part of a name -> why no model has what is below it. `teacher` is there while a student is distilled.
_DROPPED_ROOTS = {
    "global_step": "training step",
    "teacher": "weight of the teacher",
    "beta1_power": "optimizer state",
    "beta2_power": "optimizer state",
}
# Ranges that quantization-aware training learned, each a min and a max.
_RANGES = ("MobileBertActFakeQuantWithMinMaxVars", "MobileBertWeightFakeQuantWithMinMaxVars")


def google_config(values: Mapping[str, Any]) -> MobileBertConfig:
    """The configuration that a JSON of the TF1 code means: what it leaves out has that code's defaults.

    Raises:
        ConfigError: for a field that neither code has, or an impossible value.
    """
    whole = {**_DEFAULTS, **values}
    for size in ("embedding_size", "intra_bottleneck_size"):
        if whole.get(size) is None:
            whole[size] = whole["hidden_size"]
    whole["hidden_act"] = _ACTIVATIONS.get(str(whole["hidden_act"]).lower(), whole["hidden_act"])
    if whole["normalization_type"] == _MANUAL_NORM:
        whole |= {"normalization_type": "layer_norm", "layer_norm_eps": _MANUAL_EPSILON}
    return MobileBertConfig.from_dict(whole)


def google_fields(config: MobileBertConfig) -> dict[str, Any]:
    """The JSON by which that code builds the same model.

    Raises:
        CheckpointError: when it cannot: it has no pruned heads, and none of some activations.
    """
    values = config.to_dict()
    fields = {name: values[name] for name in ("vocab_size", "embedding_size", "intra_bottleneck_size", *_DEFAULTS)}
    theirs = next(
        (google for google, ours in _ACTIVATIONS.items() if ACTIVATIONS[ours] == ACTIVATIONS[config.hidden_act]), None
    )
    if theirs is None or config.pruned_heads or config.folding:
        wrong = f"pruned heads {config.pruned_heads}" if config.pruned_heads else f"folding {config.folding!r}"
        wrong = wrong if theirs else f"hidden_act {config.hidden_act!r}"
        raise CheckpointError(
            f"Google's TF1 code has no {wrong}: it knows {', '.join(_ACTIVATIONS.values())} and whole layers of "
            "attention. Nothing was written; choose another format."
        )
    return {**fields, "hidden_act": theirs}


def google_names(file: WeightFile, weights: Iterable[Weight]) -> MappedCheckpoint:
    """Maps a TF1 checkpoint to PyTorch's names; drops optimizer slots, steps, teacher and quantization ranges."""
    known = by_name(weights, "tf1")
    found = {name: known[name] for name in file.stored if name in known}
    dropped = {name: reason for name in file.stored if (reason := _reason(name, known)) is not None}
    return MappedCheckpoint(file, "tf1", found, dropped)


def is_quantized(file: WeightFile) -> bool:
    """True when the checkpoint comes from quantization-aware training."""
    return any(_is_range(name) for name in file.stored)


def _reason(name: str, known: Mapping[str, Weight]) -> str | None:
    root, parent = name.partition("/")[0], name.rpartition("/")[0]
    if parent in known:
        return "optimizer slot"  # it stands below its weight: .../kernel/adam_m
    if _is_range(name):
        return "range of quantization-aware training"
    return _DROPPED_ROOTS.get(root)


def _is_range(name: str) -> bool:
    scope, _, leaf = name.rpartition("/")
    return leaf in ("min", "max") and scope.rpartition("/")[2].startswith(_RANGES)

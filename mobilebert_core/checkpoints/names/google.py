"""Checkpoints of Google's TF1 code (google-research/mobilebert), read under PyTorch's names and orientation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...configuration.config import MobileBertConfig
from ...configuration.fields import ACTIVATIONS
from ...configuration.google_dialect import GOOGLE_ACTIVATIONS, GOOGLE_DEFAULTS, from_google
from ...errors import CheckpointError
from ...weights import Weight
from ..tensor_info import MappedCheckpoint, WeightFile, by_name

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
    return MobileBertConfig.from_dict(from_google(values))


def google_fields(config: MobileBertConfig) -> dict[str, Any]:
    """The JSON by which that code builds the same model.

    Raises:
        CheckpointError: when it cannot: it has no pruned heads, and none of some activations.
    """
    values = config.to_dict()
    fields = {
        name: values[name] for name in ("vocab_size", "embedding_size", "intra_bottleneck_size", *GOOGLE_DEFAULTS)
    }
    meaning = ACTIVATIONS[config.hidden_act]
    theirs = next((google for google, ours in GOOGLE_ACTIVATIONS.items() if ACTIVATIONS[ours] == meaning), None)
    if theirs is None or config.pruned_heads or config.folding:
        wrong = f"pruned heads {config.pruned_heads}" if config.pruned_heads else f"folding {config.folding!r}"
        wrong = wrong if theirs else f"hidden_act {config.hidden_act!r}"
        raise CheckpointError(
            f"Google's TF1 code has no {wrong}: it knows {', '.join(GOOGLE_ACTIVATIONS.values())} and whole layers of "
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

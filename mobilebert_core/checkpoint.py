"""Checkpoint directories: which weights a file holds, how they meet a model, and all or nothing.

`plan_loading` settles a load before anything is built or changed: every weight of the model gets its source,
and whatever is missing, unknown or mis-shaped is reported together. Both backends follow the same plan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .config import MobileBertConfig
from .errors import CheckpointError
from .files import TENSORFLOW_FILE, WEIGHTS_FILE
from .heads import HEADS, Head
from .safetensors_file import SafetensorsFile
from .stored import FLOATING, Stored, WeightFile
from .tensorflow_files import H5File, TensorFlowNames
from .weights import BASE_PREFIX, Weight, weight_table

logger = logging.getLogger("mobilebert")

# Buffers that older releases stored; they hold 0, 1, 2, ... and carry nothing.
_DERIVED_NAMES = frozenset({"embeddings.position_ids", "mobilebert.embeddings.position_ids"})


# What users of transformers pass to `from_pretrained` and what has no meaning for a directory that is read whole,
# by either framework, from any of its files. Accepted, so that switching is changing an import.
WITHOUT_EFFECT = frozenset(
    {
        "cache_dir", "force_download", "from_pt", "from_tf", "local_files_only", "low_cpu_mem_usage", "proxies",
        "resume_download", "revision", "token", "trust_remote_code", "use_auth_token", "use_safetensors",
    }
)  # fmt: skip


def open_weights(directory: Path, config: MobileBertConfig) -> WeightFile:
    """The weights of a checkpoint directory under PyTorch's names: model.safetensors, or else tf_model.h5.

    Raises:
        CheckpointNotFoundError: when neither is there.
        CheckpointError: when the file is damaged.
    """
    path = directory / WEIGHTS_FILE
    if not path.is_file() and (directory / TENSORFLOW_FILE).is_file():
        return TensorFlowNames(H5File(directory / TENSORFLOW_FILE), _known_weights(config))
    file = SafetensorsFile(path)
    return TensorFlowNames(file, _known_weights(config)) if file.metadata.get("format") == "tf" else file


def _known_weights(config: MobileBertConfig) -> list[Weight]:
    """Every weight of every head, the pooler's also where this configuration does not use them."""
    with_pooler = config.copy(classifier_activation=True)
    return [weight for head in HEADS.values() for weight in weight_table(with_pooler, head)]


@dataclass
class LoadPlan:
    """Where each weight of a model comes from.

    Attributes:
        sources: weight of the model -> name in the file.
        fresh: weights that keep their random start: heads the file does not have, or what the caller allowed.
        mismatched: (weight, shape in the file) left fresh because the caller asked for it.
        unused: names in the file that belong to other heads.
        dtype: the floating dtype that the file stores most of.
    """

    sources: dict[Weight, str] = field(default_factory=dict)
    fresh: list[Weight] = field(default_factory=list)
    mismatched: list[tuple[Weight, tuple[int, ...]]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    dtype: str = "float32"

    def loading_info(self) -> dict[str, Any]:
        """The `output_loading_info` of transformers."""
        return {
            "missing_keys": [weight.name for weight in self.fresh],
            "unexpected_keys": list(self.unused),
            "mismatched_keys": [(weight.name, shape, weight.shape) for weight, shape in self.mismatched],
            "error_msgs": [],
        }


def plan_loading(
    source: str,
    stored: Mapping[str, Stored],
    config: MobileBertConfig,
    head: Head,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
    allow_missing: Iterable[str] = (),
) -> LoadPlan:
    """Matches what a file holds with what a model needs; `source` names the file in messages.

    The base prefix is added or removed as needed. A tied weight may stand under either of its names. A head
    that is wholly absent starts fresh, which is logged as a warning; anything else amiss is an error.

    Raises:
        CheckpointError: listing every missing, unknown and mis-shaped weight with its shape.
    """
    table = weight_table(config, head, pooler)
    elsewhere = {w.full_name for w in _known_weights(config)}
    full_names = {full: name for name in stored if (full := _full_name(name, elsewhere)) is not None}
    found = {full: stored[name] for full, name in full_names.items()}
    allowed = set(allow_missing)
    if strange := allowed - {weight.name for weight in table}:
        raise CheckpointError(
            f"{source}: allow_missing names {sorted(strange)}, which {head.class_name} does not have."
        )
    plan = LoadPlan()
    missing: list[Weight] = []
    mismatched: list[tuple[Weight, tuple[int, ...]]] = []
    for weight in table:
        if weight.tied_to is not None:
            continue
        alias = _source_of(weight, found, config)
        if alias is None:
            (plan.fresh if weight.name in allowed else missing).append(weight)
        elif found[alias].shape != weight.shape:
            mismatched.append((weight, found[alias].shape))
        else:
            plan.sources[weight] = full_names[alias]
    needed = {w.full_name for w in table}
    plan.unused = [name for full, name in full_names.items() if full not in needed]
    unknown = [n for n in stored if n not in set(full_names.values()) and n not in _DERIVED_NAMES]
    present_groups = {w.group for w in plan.sources} | {w.group for w, _ in mismatched}
    for weight in list(missing):
        if weight.group is not None and weight.group not in present_groups:
            missing.remove(weight)
            plan.fresh.append(weight)
    if ignore_mismatched_sizes:
        plan.mismatched, mismatched = mismatched, []
    if missing or unknown or mismatched:
        foreign = not plan.sources and not mismatched
        raise CheckpointError(_report(source, table, stored, missing, unknown, mismatched, foreign))
    floats = [s.dtype for s in stored.values() if s.dtype in FLOATING]
    plan.dtype = max(set(floats), key=floats.count) if floats else "float32"
    _log(source, head, plan)
    return plan


def resolve_ties(file: WeightFile, config: MobileBertConfig, head: Head) -> MobileBertConfig:
    """The configuration under which nothing of a file is lost, when the head decodes and the file has a decoder.

    TensorFlow models of transformers never tied the decoder, whatever their configuration says: such a file is
    loaded untied, which is logged as a warning. In a file of PyTorch the two must be equal or declared untied.

    Raises:
        CheckpointError: when a PyTorch file holds a decoder that the configuration would overwrite.
    """
    names = {_full_name(name, {_DECODER, _WORDS}): name for name in file.stored}
    decodes = config.tie_word_embeddings and "predictions" in head.modules
    if not decodes or not {_DECODER, _WORDS} <= names.keys():
        return config
    if np.array_equal(file.read(names[_DECODER]), file.read(names[_WORDS])):
        return config
    if isinstance(file, TensorFlowNames):
        logger.warning("%s: the decoder differs from the word embeddings; loaded untied.", file.path)
        return config.copy(tie_word_embeddings=False)
    raise CheckpointError(
        f"{file.path}: {_DECODER} {file.stored[names[_DECODER]].shape} differs from the word embeddings, but the "
        "configuration ties them and one would be lost. Pass tie_word_embeddings=False to load both."
    )


_WORDS = "mobilebert.embeddings.word_embeddings.weight"
_DECODER = "cls.predictions.decoder.weight"
_DECODER_BIAS = "cls.predictions.decoder.bias"
_PREDICTIONS_BIAS = "cls.predictions.bias"


def _full_name(name: str, known: set[str]) -> str | None:
    if name in known:
        return name
    return BASE_PREFIX + name if BASE_PREFIX + name in known else None


def _source_of(weight: Weight, found: Mapping[str, Stored], config: MobileBertConfig) -> str | None:
    """The name under which a file holds a weight. The decoder's bias is the one the released models use."""
    if weight.full_name == _PREDICTIONS_BIAS and _DECODER_BIAS in found:
        return _DECODER_BIAS
    if weight.full_name in found:
        return weight.full_name
    if weight.full_name == _WORDS and config.tie_word_embeddings and _DECODER in found:
        return _DECODER
    if weight.full_name == _DECODER and _WORDS in found:
        return _WORDS  # untying a tied checkpoint: the decoder starts as a copy
    return None


_SHOWN = 12  # rows of each kind in a message


def _report(
    source: str,
    table: Iterable[Weight],
    stored: Mapping[str, Stored],
    missing: list[Weight],
    unknown: list[str],
    mismatched: list[tuple[Weight, tuple[int, ...]]],
    foreign: bool,
) -> str:
    total = sum(1 for weight in table if weight.tied_to is None)
    lines = [
        f"{source}: {len(missing)} of {total} weights missing, {len(unknown)} unknown, {len(mismatched)} with another "
        "shape; nothing was loaded."
    ]
    for rows in (
        [f"  missing  {w.name} {w.shape}" for w in missing],
        [f"  unknown  {name} {stored[name].shape}" for name in unknown],
        [f"  shape    {w.name} wanted {w.shape}, the file has {shape}" for w, shape in mismatched],
    ):
        lines += rows[:_SHOWN] + ([f"  ... and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else [])
    advice = []
    if mismatched:
        advice.append("Pass ignore_mismatched_sizes=True to start mis-shaped weights fresh, or correct the config.")
    if foreign:
        advice.append("None of the names is MobileBERT's: this looks like the checkpoint of another model.")
    elif missing:
        advice.append("Pass allow_missing=[...] to start missing weights fresh.")
    return "\n".join(lines + advice)


def _log(source: str, head: Head, plan: LoadPlan) -> None:
    fresh = [w.name for w in plan.fresh] + [w.name for w, _ in plan.mismatched]
    if fresh:
        logger.warning(
            "%s: %d weights of %s are not in the checkpoint and start fresh; train them before use: %s",
            source, len(fresh), head.class_name, ", ".join(fresh[:8]) + (", ..." if len(fresh) > 8 else ""),
        )  # fmt: skip
    if plan.unused:
        logger.info("%s: %d weights of other heads were not used: %s", source, len(plan.unused), plan.unused)

"""How the weights of a file meet a model: every one in its place, or nothing.

`plan_loading` settles a load before anything is built or changed: every weight of the model gets its source,
and whatever is missing, unknown or mis-shaped is reported together. Both backends follow the same plan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..configuration.fields import DTYPES
from ..errors import CheckpointError
from ..heads import Head
from ..processes import warn
from ..weights import Weight, weight_table
from .own_weights import NOTHING_IGNORED, IgnoredNames
from .tensor_info import MappedCheckpoint, TensorInfo

logger = logging.getLogger("mobilebert")

# The weights that may be tied, by full name.
WORDS = "mobilebert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
DECODER_BIAS = "cls.predictions.decoder.bias"
POOLER = "mobilebert.pooler.dense.weight"
PREDICTIONS_BIAS = "cls.predictions.bias"


@dataclass
class LoadPlan:
    """Where each weight of a model comes from.

    Attributes:
        sources: weight of the model -> the full name it is read by.
        newly_initialized: weights that start at random: of heads the file does not have, or those the caller allowed.
        mismatched: (weight, shape in the file) newly initialized because the caller asked for it.
        unused: names in the file that belong to other heads.
        dtype: the floating dtype that the file stores most of.
        ignored: names of which `loading_info` and the log say nothing.
    """

    sources: dict[Weight, str] = field(default_factory=dict)
    newly_initialized: list[Weight] = field(default_factory=list)
    mismatched: list[tuple[Weight, tuple[int, ...]]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    dtype: str = "float32"
    ignored: IgnoredNames = NOTHING_IGNORED

    def loading_info(self) -> dict[str, Any]:
        """The `output_loading_info` of transformers."""
        ignored = self.ignored.unexpected_among(self.unused)
        return {
            "missing_keys": self.ignored.keep_missing(weight.name for weight in self.newly_initialized),
            "unexpected_keys": [name for name in self.unused if name not in ignored],
            "mismatched_keys": [(weight.name, shape, weight.shape) for weight, shape in self.mismatched],
            "error_msgs": [],
        }


def plan_loading(
    file: MappedCheckpoint,
    config: MobileBertConfig,
    head: Head,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
    allow_missing: Iterable[str] = (),
    ignored: IgnoredNames = NOTHING_IGNORED,
) -> LoadPlan:
    """Matches what a file holds with what a model needs.

    A tied weight may stand under either of its names. A head that is wholly absent is newly initialized, which is
    logged as a warning; so is a weight whose name is `ignored`, without a word. Anything else amiss is an error.

    Raises:
        CheckpointError: listing every missing, unknown and mis-shaped weight with its shape.
    """
    source, stored, unknown = str(file.path), file.stored, file.unknown
    table = weight_table(config, head, pooler)
    allowed = set(allow_missing)
    if strange := allowed - {weight.name for weight in table}:
        raise CheckpointError(
            f"{source}: allow_missing names {sorted(strange)}, which {head.class_name} does not have."
        )
    plan = LoadPlan(ignored=ignored)
    missing: list[Weight] = []
    mismatched: list[tuple[Weight, tuple[int, ...]]] = []
    for weight in table:
        if weight.tied_to is not None:
            continue
        name = _source_of(weight, stored, config)
        if name is None:
            (plan.newly_initialized if weight.name in allowed else missing).append(weight)
        elif stored[name].shape != weight.shape:
            mismatched.append((weight, stored[name].shape))
        else:
            plan.sources[weight] = name
    needed = {w.full_name for w in table}
    others = needed.union(unknown)
    plan.unused = [name for name in stored if name not in others]
    present_groups = {w.group for w in plan.sources} | {w.group for w, _ in mismatched}
    minded = plan.ignored.keep_missing(weight.name for weight in missing)
    for weight in list(missing):
        if (weight.group is not None and weight.group not in present_groups) or weight.name not in minded:
            missing.remove(weight)
            plan.newly_initialized.append(weight)
    if ignore_mismatched_sizes:
        plan.mismatched, mismatched = mismatched, []
    _check_dtypes(file)
    if missing or unknown or mismatched:
        foreign = not plan.sources and not mismatched
        raise CheckpointError(_report(source, table, stored, missing, unknown, mismatched, foreign))
    floats = [s.dtype for s in stored.values() if s.dtype in DTYPES]
    plan.dtype = max(set(floats), key=floats.count) if floats else "float32"
    _log(source, head, plan)
    return plan


def _check_dtypes(file: MappedCheckpoint) -> None:
    """Raises CheckpointError for weights that are no floating-point numbers."""
    unknown = set(file.unknown)
    known = ((name, info) for name, info in file.stored.items() if name not in unknown)
    others = [f"{name} {info.shape} of {info.dtype}" for name, info in known if info.dtype not in DTYPES]
    if others:
        raise CheckpointError(
            f"{file.path}: {len(others)} weights are no floating-point numbers, the first {others[0]}; wanted "
            f"{', '.join(DTYPES)}. Quantized checkpoints are not read: take the one before quantization."
        )


def resolve_ties(file: MappedCheckpoint, config: MobileBertConfig, head: Head) -> MobileBertConfig:
    """The configuration under which nothing of a file is lost, when the head decodes and the file has a decoder.

    TensorFlow models of transformers never tied the decoder, whatever their configuration says: such a file is
    loaded untied, which is logged as a warning. In a file of PyTorch the two must be equal or declared untied.

    Raises:
        CheckpointError: when a PyTorch file holds a decoder that the configuration would overwrite.
    """
    decodes = config.tie_word_embeddings and head.words is not None
    if not decodes or not {DECODER, WORDS} <= file.stored.keys():
        return config
    if np.array_equal(file.read(DECODER), file.read(WORDS)):
        return config
    if file.layout == "h5":
        warn(logger, "%s: the decoder differs from the word embeddings; loaded untied.", file.path)
        return config.copy(tie_word_embeddings=False)
    raise CheckpointError(
        f"{file.path}: {DECODER} {file.stored[DECODER].shape} differs from the word embeddings, but the "
        "configuration ties them and one would be lost. Pass tie_word_embeddings=False to load both."
    )


def _source_of(weight: Weight, found: Mapping[str, TensorInfo], config: MobileBertConfig) -> str | None:
    """The name under which a file holds a weight. The decoder's bias is the one the released models use."""
    if weight.full_name == PREDICTIONS_BIAS and DECODER_BIAS in found:
        return DECODER_BIAS
    if weight.full_name in found:
        return weight.full_name
    if weight.full_name == WORDS and config.tie_word_embeddings and DECODER in found:
        return DECODER
    if weight.full_name == DECODER and WORDS in found:
        return WORDS  # untying a tied checkpoint: the decoder starts as a copy
    return None


_SHOWN = 12  # rows of each kind in a message


def _report(
    source: str,
    table: Iterable[Weight],
    stored: Mapping[str, TensorInfo],
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
        advice.append("Pass ignore_mismatched_sizes=True to initialize mis-shaped weights anew, or correct the config.")
    if foreign:
        advice.append("None of the names is MobileBERT's: this looks like the checkpoint of another model.")
    elif missing:
        advice.append("Pass allow_missing=[...] to initialize missing weights anew.")
    elif unknown:
        advice.append("Pass allow_unknown=[...] to leave what is unknown in the file.")
    return "\n".join(lines + advice)


def _log(source: str, head: Head, plan: LoadPlan) -> None:
    info = plan.loading_info()
    names = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if names:
        few = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        warn(
            logger,
            "%s: %d weights of %s are not in the checkpoint and are newly initialized; train them before use: %s",
            source, len(names), head.class_name, few,
        )  # fmt: skip
    if unused := info["unexpected_keys"]:
        logger.info("%s: %d weights of other heads were not used: %s", source, len(unused), unused)

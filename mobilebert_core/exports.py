"""What is exported: the facts of one exported file that its writer, its runner and its record share.

B batch, S sequence, C choices. Every input is int32, or int64 where that is asked for. Every output is float32,
whatever the precision inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .configuration.config import MobileBertConfig
from .errors import ExportError
from .heads import HEADS, Head, check_head
from .inputs import TEXT_INPUTS

# fp16 computes in half precision; int8 stores weights in 8 bits and scales activations while it runs; int8-static has
# the ranges of activations from calibration; int8x16 does so with activations of 16 bits.
PRECISIONS = ("fp32", "fp16", "int8", "int8-static", "int8x16")
CALIBRATED = ("int8-static", "int8x16")  # need `ExportSpec.calibration`
INPUT_DTYPES = ("int32", "int64")  # transformers.js feeds int64
DYNAMIC = "dynamic"  # an axis whose size each call decides
SIGNATURE = "serving_default"  # of a SavedModel and of a LiteRT file

# The file that MLPerf Mobile's app runs: it reads inputs and outputs by position, the end first (mobile_app_open,
# flutter/cpp/datasets/squad.cc), and its samples have 384 tokens.
MLPERF_LENGTH = 384
MLPERF_INPUTS = ("input_ids", "input_mask", "segment_ids")
MLPERF_OUTPUTS = ("end_logits", "start_logits")

Inputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ExportSpec:
    """One exported file.

    Attributes:
        head: what it computes.
        config: of the source, without folding.
        precision: one of PRECISIONS.
        batch, length: sizes of these axes; None where each call decides.
        folding: basis in which the model is folded, or None; see `mobilebert_core.folding`.
        mask_value: what is added to the scores of tokens that are not seen; None for the lowest number, as in training.
        calibration: batches of model inputs, (B, S) int32 by our names, from which ranges are taken.
        ranges: of the inputs of dense layers by place, left by quantization-aware training; in place of calibration.
        mlperf: names and order of inputs and outputs as in MLPerf Mobile.
        input_dtype: of every input, one of INPUT_DTYPES.
        pooler: False for a bare model without a pooler.
        with_states: also returns the hidden states, which tell where a deviation begins.
    """

    head: Head
    config: MobileBertConfig
    precision: str = "fp32"
    batch: int | None = None
    length: int | None = None
    folding: str | None = None
    mask_value: float | None = None
    calibration: tuple[Inputs, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    mlperf: bool = False
    input_dtype: str = "int32"
    pooler: bool = True
    with_states: bool = False

    def __post_init__(self) -> None:
        check_head(self.config, self.head)
        _check_size("batch", self.batch)
        _check_size("length", self.length)
        limit = self.config.max_position_embeddings
        if self.length is not None and self.length > limit:
            raise ExportError(
                f"export: length is {self.length}, the model has max_position_embeddings {limit}. Use at most {limit}."
            )
        if self.mlperf and (self.head is not HEADS["QuestionAnswering"] or (self.batch, self.length) != _MLPERF_SHAPE):
            raise ExportError(
                f"export: MLPerf Mobile's file answers questions with batch 1 and length {MLPERF_LENGTH}, got a "
                f"{self.head.class_name} with batch {shown(self.batch)} and length {shown(self.length)}."
            )
        if self.input_dtype not in INPUT_DTYPES or (self.mlperf and self.input_dtype != "int32"):
            wanted = "int32 in MLPerf Mobile's file" if self.mlperf else f"one of {', '.join(INPUT_DTYPES)}"
            raise ExportError(f"export: input_dtype must be {wanted}, got {self.input_dtype!r}.")
        if self.precision not in PRECISIONS:
            raise ExportError(f"export: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.precision in CALIBRATED and not (self.calibration or self.ranges):
            raise ExportError(
                f"export: {self.precision} takes the ranges of activations from texts. Pass a file: --calibrate FILE."
            )

    @property
    def inputs(self) -> dict[str, str]:
        """Our name of each input -> its name in the file, in the order of the file."""
        return dict(zip(TEXT_INPUTS, MLPERF_INPUTS if self.mlperf else TEXT_INPUTS, strict=True))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the fields; then the states, if they are returned."""
        states = self.config.num_hidden_layers + 1 if self.with_states else 0
        return (*self._scores, *(f"{STATE}.{index}" for index in range(states)))

    @property
    def _scores(self) -> tuple[str, ...]:
        if self.mlperf:
            return MLPERF_OUTPUTS
        return scores_of(self.head)[0 if self.pooler or not self.head.bare else 1]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of every input: (B, S), or (B, C, S) for a head that reads choices; None where each call decides."""
        return (self.batch, None, self.length) if self.head.per_choice else (self.batch, self.length)

    def example(self, batch: int = 2, length: int = 8, choices: int = 3) -> dict[str, np.ndarray]:
        """Inputs of these sizes, or the fixed ones, by our names, the last row with padding."""
        batch = self.batch or batch
        length = self.length or min(length, self.config.max_position_embeddings)
        shape = (batch, choices, length) if self.head.per_choice else (batch, length)
        rng = np.random.default_rng(0)
        ids = rng.integers(1, self.config.vocab_size, shape).astype(self.input_dtype)
        types = rng.integers(0, self.config.type_vocab_size, shape).astype(self.input_dtype)
        mask = np.ones(shape, self.input_dtype)
        mask[-1, ..., length - length // 4 :] = 0
        return dict(zip(TEXT_INPUTS, (ids, mask, types), strict=True))


def scores_of(head: Head) -> list[tuple[str, ...]]:
    """What a file of a head may have as outputs before its states: the usual ones first."""
    if head.bare:
        return [("last_hidden_state", "pooler_output"), ("last_hidden_state",)]
    usual = tuple(task.logits for task in head.tasks)
    return [usual, MLPERF_OUTPUTS] if head is HEADS["QuestionAnswering"] else [usual]


STATE = "hidden_states"  # begins the names of states: hidden_states.0 are the embeddings
_MLPERF_SHAPE = (1, MLPERF_LENGTH)


def shown(size: int | None) -> int | str:
    """A size as users write it."""
    return DYNAMIC if size is None else size


def size_of(name: str, value: Any) -> int | None:
    """What a user passed for an axis: a number, its text, or "dynamic", which is None.

    Raises:
        ExportError: for anything else.
    """
    if value == DYNAMIC:
        return None
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExportError(f"export: {name} must be a whole number or {DYNAMIC!r}, got {value!r}.")
    _check_size(name, value)
    return value


def _check_size(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ExportError(f"export: {name} must be at least 1, got {value}.")

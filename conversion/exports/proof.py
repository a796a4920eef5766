"""Does an exported file compute what its source computes? Both run on the same batches, and every output is compared.

In fp32 each token's vector is compared. Lower precisions move every number a little, so there the decisions are
compared that users see: the label, the word, the place of an answer.
B batch, S sequence, C what the last axis of the scores counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import REGRESSION
from mobilebert_core.heads import Head, Task, problem_type_of
from mobilebert_core.tasks.runner import Runner

from ..parity.deviation import TOLERANCES, relative_deviation

Arrays = Mapping[str, np.ndarray]

# Shares of decisions that must be equal. One between two scores that the source itself hardly tells apart, closer than
# this share of the range of the vector, may fall either way: rounding decides it, as batches and machines do.
AGREEMENT = {"fp16": 0.995, "int8": 0.98, "int8-static": 0.95, "int8x16": 0.98}
NEAR_TIE = 0.05
COSINE = 0.95  # of two vectors of a bare model that say the same
# Rows of which half is padding may deviate by this more than three times as much as rows without. Where a mask has lost
# its meaning they are further away, and their decisions need not show it.
_PADDING = 0.05
# Two scores close to 0 are a difference of large numbers, of which float32 keeps few digits: there the source itself is
# further than the tolerance from what float64 gives. A file may be this many times as far.
_ROUNDING = 4.0
_SAME_NUMBER = 0.05  # of a regression, as a share of the range of its answers


@dataclass(frozen=True)
class OutputProof:
    """One output: its largest deviation over all vectors, and the share of equal decisions.

    Attributes:
        equal: share of decisions that are the same.
        agreeing: the same, where near ties count as equal.
        rounding: of fp32, the deviation of the source itself from float64, where that was needed.
        full, padded: mean deviation of rows without padding, and of rows of which half or more is padding.
    """

    name: str
    deviation: float
    equal: float
    agreeing: float
    full: float = 0.0
    padded: float = 0.0
    rounding: float = 0.0

    @property
    def allowed(self) -> float:
        """The largest deviation in fp32."""
        return max(TOLERANCES["float32"], _ROUNDING * self.rounding)

    @property
    def padding_is_seen(self) -> bool:
        return self.padded > _PADDING + 3 * self.full


@dataclass(frozen=True)
class Proof:
    """The comparison of a file with its source, output by output."""

    precision: str
    rows: int
    outputs: tuple[OutputProof, ...]

    @property
    def first_divergence(self) -> OutputProof | None:
        """The first output that is beyond the bar, or None."""
        return next((output for output in self.outputs if not self.within(output)), None)

    def within(self, output: OutputProof) -> bool:
        if self.precision == "fp32":
            return output.deviation <= output.allowed
        agrees = bool(np.isfinite(output.deviation)) and output.agreeing >= AGREEMENT[self.precision]
        return agrees and not output.padding_is_seen

    def describe(self, output: OutputProof) -> str:
        """How far an output is from its source, and how far it may be."""
        if not np.isfinite(output.deviation):
            return f"{output.name} holds NaN or infinity"
        if self.precision == "fp32":
            return f"{output.name} deviates by {output.deviation:.1e}, allowed are {output.allowed:.0e}"
        if output.padding_is_seen:
            return (
                f"{output.name} deviates by {output.padded:.1e} in rows that are mostly padding, by {output.full:.1e} "
                "in rows without: the mask has lost its meaning"
            )
        return (
            f"{output.name} decides as its source in {output.agreeing:.1%} of the cases (deviation "
            f"{output.deviation:.1e}), wanted are {AGREEMENT[self.precision]:.1%}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "bar": TOLERANCES["float32"] if self.precision == "fp32" else AGREEMENT[self.precision],
            "outputs": {
                each.name: {field: value for field, value in asdict(each).items() if field != "name"}
                for each in self.outputs
            },
        }


def compare_outputs(
    config: MobileBertConfig,
    head: Head,
    precision: str,
    names: Sequence[str],
    batches: Sequence[Arrays],
    expected: Sequence[Arrays],
    found: Sequence[Arrays],
) -> Proof:
    """The comparison of outputs, batch by batch as model and file gave them."""
    rows = sum(len(batch["input_ids"]) for batch in batches)
    outputs = []
    for name in names:
        pairs = [(one[name], other.get(name)) for one, other in zip(expected, found, strict=True)]
        outputs.append(_compare(config, head, name, [b["attention_mask"] for b in batches], pairs))
    return Proof(precision, rows, tuple(outputs))


def with_rounding(proof: Proof, exact: Sequence[Arrays], expected: Sequence[Arrays]) -> Proof:
    """The same proof, which knows how far the source in float32 is from the `exact` outputs of float64."""
    outputs = []
    for each in proof.outputs:
        pairs = [(one[each.name], other[each.name]) for one, other in zip(exact, expected, strict=True)]
        outputs.append(replace(each, rounding=_deviation(pairs)))
    return replace(proof, outputs=tuple(outputs))


def run_all(runner: Runner, batches: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """The outputs by name of each batch."""
    return [runner.run(batch) for batch in batches]


def _compare(config: MobileBertConfig, head: Head, name: str, masks: list[np.ndarray], pairs: list[Any]) -> OutputProof:
    if any(other is None or one.shape != other.shape for one, other in pairs):
        return OutputProof(name, float("inf"), 0.0, 0.0)
    deviation = _deviation(pairs)
    if not np.isfinite(deviation) and not all(np.isfinite(other).all() for _, other in pairs):
        return OutputProof(name, float("inf"), 0.0, 0.0)
    task = next((task for task in head.tasks if task.logits == name), None)
    decisions = [_decisions(config, task, mask, one, other) for mask, (one, other) in zip(masks, pairs, strict=True)]
    equal = np.concatenate([each[0].ravel() for each in decisions])
    near = np.concatenate([each[1].ravel() for each in decisions])
    full, padded = _by_padding(masks, pairs)
    return OutputProof(name, deviation, float(equal.mean()), float((equal | near).mean()), full, padded)


def _scale(pairs: list[Any]) -> float | None:
    """What a deviation is a share of, where that is not the vector's own size: one number alone may be 0 by chance."""
    return max(float(np.abs(one).max()) for one, _ in pairs) if pairs[0][0].shape[-1] == 1 else None


def _deviation(pairs: list[Any]) -> float:
    scale = _scale(pairs)
    return max(relative_deviation(one, other, scale) for one, other in pairs)


def _by_padding(masks: list[np.ndarray], pairs: list[Any]) -> tuple[float, float]:
    """Mean deviation of rows without padding, and of rows of which half or more is padding."""
    scale = _scale(pairs)
    found: tuple[list[float], list[float]] = [], []
    for mask, (one, other) in zip(masks, pairs, strict=True):
        share = mask.reshape(len(mask), -1).mean(axis=1)
        for row in range(len(mask)):
            if share[row] == 1 or share[row] <= 0.5:
                kept = mask[row] > 0 if one.ndim == 3 or one.shape == mask.shape else slice(None)
                largest = max(float(np.abs(one[row][kept]).max()) if scale is None else scale, 1e-30)
                found[int(share[row] < 1)].append(float(np.abs(one[row][kept] - other[row][kept]).mean()) / largest)
    full, padded = ([0.0], found[1]) if not found[0] else found
    return float(np.mean(full)), float(np.mean(padded)) if padded else 0.0


def _decisions(
    config: MobileBertConfig, task: Task | None, mask: np.ndarray, one: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which decisions are equal, and which are near ties in the source; of tokens that are padding there are none."""
    if task is None:  # a bare model: vectors
        same = _cosine(one, other) >= COSINE
        same = same[mask > 0] if same.ndim == 2 else same
        return same, np.zeros_like(same)
    if task.kind == "problem" and problem_type_of(config, task, one.shape[-1], integer_labels=True) == REGRESSION:
        allowed = _SAME_NUMBER * max(float(np.abs(one).max()), 1e-30)
        same = np.abs(one - other).max(axis=-1) <= allowed
        return same, np.zeros_like(same)
    if task.per_token:
        one, other = one[mask > 0], other[mask > 0]
    if task.kind == "span":
        lowest = np.finfo(one.dtype).min
        one, other = np.where(mask > 0, one, lowest), np.where(mask > 0, other, lowest)
        spread = one.max(axis=-1) - np.where(mask > 0, one, one.max(axis=-1, keepdims=True)).min(axis=-1)
    else:
        spread = one.max(axis=-1) - one.min(axis=-1)
    chosen = other.argmax(axis=-1)
    lost = one.max(axis=-1) - np.take_along_axis(one, chosen[..., None], axis=-1)[..., 0]
    return one.argmax(axis=-1) == chosen, lost <= NEAR_TIE * spread


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    sizes = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    products = (one * other).sum(axis=-1)
    return np.where(sizes > 0, products / np.where(sizes > 0, sizes, 1.0), np.all(one == other, axis=-1))

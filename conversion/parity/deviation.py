"""Compares the numbers of two models, module by module, so that the first difference has a name.

Activations of MobileBERT span 1 to 1e7, so absolute tolerances mean nothing. A deviation here is the largest
difference in a token's vector divided by that vector's largest value; the worst token counts. NaN or
infinity on either side is an infinite deviation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from mobilebert_core.configuration.fields import ACTIVATION_TABLE
from mobilebert_core.errors import ConfigError, MobileBertError
from mobilebert_core.files import write_text
from mobilebert_core.weight_rows import BASE_PREFIX

from .traces import Trace, trace

# What two correct implementations reach: float64 shows that the arithmetic is the same, float32 adds rounding
# over 24 blocks. Half precisions are for information: 11 and 8 bits of mantissa.
TOLERANCES = {"float64": 1e-10, "float32": 1e-5, "float16": 5e-2, "bfloat16": 2e-1}
# The derivative of relu jumps at 0: an input that rounding moves across 0 has another gradient altogether. In
# float32 that happens to a few of the full model's inputs; in float64 it does not, and there gradients meet
# the tolerance of the rest.
KINKED_ACTIVATIONS = frozenset(name for a in ACTIVATION_TABLE if a.kinked for name in a.names)
KINKED_GRADIENT_TOLERANCE = 1e-2


class ParityError(MobileBertError, ValueError):
    """Two models cannot be compared: their outputs or shapes are different."""


@dataclass(frozen=True)
class Row:
    """One compared array: where it is, how far the two sides are apart, and how large its values are."""

    name: str
    kind: str
    deviation: float
    largest: float
    within: bool


@dataclass(frozen=True)
class Report:
    """The outcome of a comparison, row by row in the order of computation."""

    reference: str
    other: str
    dtype: str
    tolerance: float
    gradient_tolerance: float
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(row.within for row in self.rows)

    @property
    def worst(self) -> Row:
        return max(self.rows, key=lambda row: row.deviation)

    @property
    def first_divergence(self) -> Row | None:
        """The first row beyond the tolerance, or None."""
        return next((row for row in self.rows if not row.within), None)

    def to_json(self) -> str:
        values = asdict(self)
        divergence = self.first_divergence
        values |= {"ok": self.ok, "first_divergence": divergence.name if divergence else None}
        for row in values["rows"]:
            row["deviation"] = row["deviation"] if np.isfinite(row["deviation"]) else None
            row["largest"] = row["largest"] if np.isfinite(row["largest"]) else None
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `to_json` wrote."""
        known: dict[str, Any] = {f.name: values[f.name] for f in fields(cls)}
        rows: list[dict[str, Any]] = [
            {n: float("inf") if v is None else v for n, v in row.items()} for row in values["rows"]
        ]
        return cls(**{**known, "rows": [Row(**row) for row in rows]})

    def save_json(self, path: Path) -> None:
        write_text(path, self.to_json())


def compare(
    reference: Any,
    other: Any,
    batch: Mapping[str, Any],
    tolerance: float | None = None,
    gradients: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Runs two models on one batch and compares everything: our PyTorch or Keras models, or transformers'.

    Args:
        reference: a model of either framework.
        other: a model of the same head and configuration, of either framework.
        batch: numpy arrays by input name, labels included if loss and gradients are to be compared.
        tolerance: largest deviation allowed, default `default_tolerance` of the reference.
        gradients: also compare the gradient of every weight (needs labels).
        progress: called with the name of each step.

    Raises:
        ParityError: when the models do not give the same set of arrays.
    """
    check_tolerance(tolerance)
    say = progress or (lambda step: None)
    say("reference")
    first = trace(reference, batch, gradients)
    say("other")
    second = trace(other, batch, gradients)
    say("compare")
    return compare_traces(first, second, tolerance)


def compare_traces(reference: Trace, other: Trace, tolerance: float | None = None) -> Report:
    """Compares the arrays that two models computed; see `compare`."""
    if only := reference.arrays.keys() ^ other.arrays.keys():
        raise ParityError(
            f"{reference.name} and {other.name} give different arrays; only one of them has {sorted(only)[:5]}. "
            "Compare models of the same class and configuration."
        )
    allowed = {
        kind: default_tolerance(reference, kind) if tolerance is None else tolerance for kind in ("state", "gradient")
    }
    report = Report(reference.name, other.name, reference.dtype, allowed["state"], allowed["gradient"])
    scales = _gradient_scales(reference)
    for name, expected in reference.arrays.items():
        found = other.arrays[name]
        if expected.shape != found.shape:
            raise ParityError(f"{name}: {reference.name} gives {expected.shape}, {other.name} gives {found.shape}.")
        kind = name.partition(".")[0]
        deviation = relative_deviation(expected, found, scales.get(name))
        largest = float(np.abs(expected).max()) if expected.size else 0.0
        within = deviation <= allowed["gradient" if kind == "gradient" else "state"]
        report.rows.append(Row(name, kind, deviation, largest, within))
    return report


def check_tolerance(tolerance: float | None) -> None:
    """Raises ConfigError for a tolerance that nothing, or everything, is within: NaN, below 0, infinity."""
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ConfigError(f"parity: tolerance must be a number of at least 0, got {tolerance!r}.")


def default_tolerance(reference: Trace, kind: str) -> float:
    """The deviation allowed for states or gradients of a model in its dtype."""
    tolerance = TOLERANCES[reference.dtype]
    if kind == "gradient" and reference.dtype != "float64" and reference.hidden_act in KINKED_ACTIVATIONS:
        return max(tolerance, KINKED_GRADIENT_TOLERANCE)
    return tolerance


def relative_deviation(expected: np.ndarray, found: np.ndarray, scale: float | None = None) -> float:
    """The worst difference, divided by the largest value of its vector (the last axis) or by `scale`."""
    if expected.size == 0:
        return 0.0
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    expected, found = np.atleast_1d(expected), np.atleast_1d(found)
    difference = np.abs(expected - found).max(axis=-1)
    largest = np.abs(expected).max(axis=-1) if scale is None else np.full(difference.shape, scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = np.where(difference == 0, 0.0, difference / largest)
    return float(deviations.max())


def _gradient_scales(reference: Trace) -> dict[str, float]:
    """The largest gradient of each block, by the names of its gradients.

    Some gradients are 0 in exact arithmetic (a key's bias shifts all scores of a row alike). What is computed for
    them is rounding alone, so they are measured against the largest gradient of their block.
    """
    largest: dict[str, float] = {}
    blocks = {name: _block(name) for name in reference.arrays if name.startswith("gradient.")}
    for name, block in blocks.items():
        values = reference.arrays[name]
        largest[block] = max(largest.get(block, 0.0), float(np.abs(values).max()) if values.size else 0.0)
    return {name: largest[block] for name, block in blocks.items()}


def _block(name: str) -> str:
    parts = name.removeprefix("gradient.").removeprefix(BASE_PREFIX).split(".")
    return ".".join(parts[:3]) if parts[0] == "encoder" else parts[0]

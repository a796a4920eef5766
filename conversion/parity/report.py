"""A parity report as a table with one line per block, and as a picture of deviation against depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.errors import BackendMissingError
from mobilebert_core.files import replacing
from mobilebert_core.weight_rows import BASE_PREFIX

from .deviation import Report, Row


def table(report: Report) -> str:
    """One line per step of the computation: deviations of state, attention and gradients, largest state value."""
    tolerance = f"tolerance {report.tolerance:g}"
    if report.gradient_tolerance != report.tolerance:
        tolerance += f", gradients {report.gradient_tolerance:g}"
    lines = [
        f"{report.other} against {report.reference}, {report.dtype}, {tolerance}",
        f"  {'step':<28}{'state':>10}{'attention':>11}{'gradient':>10}{'largest value':>15}",
    ]
    for place, rows in _by_place(report).items():
        state = next((r for r in rows if r.kind not in ("attention", "gradient")), None)
        attention = next((r for r in rows if r.kind == "attention"), None)
        gradients = [r for r in rows if r.kind == "gradient"]
        gradient = max(gradients, key=lambda r: r.deviation) if gradients else None
        largest = f"{state.largest:.4g}" if state else ""
        flag = "" if all(r.within for r in rows) else "  beyond the tolerance"
        lines.append(f"  {place:<28}{_cell(state):>10}{_cell(attention):>11}{_cell(gradient):>10}{largest:>15}{flag}")
    divergence = report.first_divergence
    if divergence is None:
        forward = max(r.deviation for r in report.rows if r.kind != "gradient")
        backward = max((r.deviation for r in report.rows if r.kind == "gradient"), default=None)
        of_gradients = "" if backward is None else f", gradients {backward:.1e}"
        lines.append(f"agrees: largest deviation {forward:.1e}{of_gradients}")
    else:
        lines.append(f"DIFFERS: first beyond the tolerance is {divergence.name}, by {divergence.deviation:.1e}")
    return "\n".join(lines)


def plot(reports: Sequence[Report], path: Path) -> None:
    """Draws deviation against depth, one panel per report, into a file whose suffix says the format.

    Raises:
        BackendMissingError: without matplotlib.
    """
    figure_class = figures()
    figure = figure_class(figsize=(9, 3.2 * len(reports) + 0.6), layout="constrained")
    for panel, report in zip(figure.subplots(len(reports), 1, squeeze=False)[:, 0], reports, strict=True):
        places = list(_by_place(report))
        for series, color in (("state", "tab:blue"), ("attention", "tab:orange"), ("gradient", "tab:green")):
            points = [
                (index, max(r.deviation for r in found))
                for index, rows in enumerate(_by_place(report).values())
                if (found := [r for r in rows if _kind(r) == series])
            ]
            if points:
                x, y = zip(*points, strict=True)
                panel.plot(x, np.clip(y, np.finfo(float).tiny, None), "o-", color=color, label=series, markersize=3)
        panel.axhline(report.tolerance, color="tab:red", linestyle="--", label="tolerance")
        if report.gradient_tolerance != report.tolerance:
            panel.axhline(report.gradient_tolerance, color="tab:red", linestyle=":", label="tolerance of gradients")
        panel.set_yscale("log")
        panel.set_xticks(range(len(places)), places, rotation=90, fontsize=6)
        panel.set_ylabel("relative deviation")
        panel.set_title(f"{report.other} against {report.reference}, {report.dtype}", fontsize=9)
        panel.legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def figures() -> Any:
    """The class of matplotlib that draws a picture.

    Raises:
        BackendMissingError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise BackendMissingError(
            f"parity: the picture needs matplotlib ({e}). Install it: pip install 'mobilebert[plot]'."
        ) from e
    return Figure


def _kind(row: Row) -> str:
    return row.kind if row.kind in ("attention", "gradient") else "state"


def _by_place(report: Report) -> dict[str, list[Row]]:
    """The rows gathered by where they are: embeddings, block 0, ..., pooled, each score, loss."""
    places: dict[str, list[Row]] = {}
    head_gradients: list[Row] = []
    for row in report.rows:
        kind, _, rest = row.name.partition(".")
        if kind == "gradient":
            parts = rest.removeprefix(BASE_PREFIX).split(".")
            if parts[0] == "encoder":
                places[f"block {parts[2]}"].append(row)
            elif parts[0] == "embeddings":
                places["embeddings"].append(row)
            else:
                head_gradients.append(row)
        elif kind in ("block", "attention"):
            places.setdefault(f"block {rest}", []).append(row)
        else:
            places.setdefault(rest or kind, []).append(row)
    if head_gradients:
        places["head"] = head_gradients
    return places


def _cell(row: Row | None) -> str:
    return "" if row is None else "exact" if row.deviation == 0 else f"{row.deviation:.1e}"

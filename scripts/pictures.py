"""Draws the pictures of the documentation that show measurements: `make pictures DATA=DIR`.

`parity.png`: deviation of Keras from PyTorch by depth, on the demo model and in full size, as `mobilebert parity`
measures it.

`guides/curves.png`: loss and accuracy while a model learns parts of speech (atis_pos of `small_tasks.py`) from
mobilebert-mini and from random weights: what `mobilebert train` writes into curves.csv and scores.csv. Some minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from conversion.parity.deviation import Report
from mobilebert.cli import main as mobilebert
from mobilebert_core.files import CONFIG_FILE, replacing
from mobilebert_core.shipped_models import MINI_MODEL
from mobilebert_core.training.run_checks import read_curves
from mobilebert_core.training.run_directory import CURVES_FILE, SCORES_FILE

from .small_tasks import SMALL_TASKS, fine_tuned

STEPS = 670  # five times all rows
SMOOTHED = 20  # steps over which a drawn loss is averaged
GRADIENTS = "gradient.mobilebert.encoder.layer."
KINDS = (("block", "states", "o-"), ("attention", "attention", "^:"), ("gradient", "gradients", "s--"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="directory with tasks")
    parser.add_argument("work", type=Path, help="directory for what is made on the way")
    parser.add_argument("output", type=Path, help="directory of the documentation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    save(parity(), options.output / "parity.png")
    save(curves(options.data, options.work), options.output / "guides" / "curves.png")


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def parity() -> Figure:
    """Deviation against depth in both precisions, each point the largest of its block."""
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    small, large = figure.subplots(1, 2, sharey=True, width_ratios=(1, 3))
    draw_parity(small, [])
    draw_parity(large, ["mobilebert"])
    small.set(title="the demo model", ylabel="largest deviation, relative")
    large.set_title("full size, random weights")
    large.legend(fontsize=8, ncols=2, loc="center right")
    return figure


def draw_parity(panel: Axes, checkpoint: Sequence[str]) -> None:
    """Measures a checkpoint and draws its states, attention and gradients."""
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "parity.json"
        if code := mobilebert(["parity", *checkpoint, "--dtype", "float32", "float64", "--json", str(measured)]):
            sys.exit(code)
        reports = [Report.from_dict(values) for values in json.loads(measured.read_text(encoding="utf-8"))]
    for report, colour in zip(reports, ("tab:orange", "tab:blue"), strict=True):
        for kind, name, line in KINDS:
            points = by_block(report, kind)
            panel.plot(range(len(points)), points, line, color=colour, markersize=3, linewidth=1,
                       label=f"{name}, {report.dtype}")  # fmt: skip
        panel.axhline(report.tolerance, color=colour, linewidth=0.8, alpha=0.6)
        panel.annotate("tolerance", (0, report.tolerance), (0, 3), color=colour, fontsize=8, textcoords="offset points")
    panel.set(yscale="log", xlabel="block")
    panel.set_xticks(range(0, len(points), 1 if len(points) < 10 else 4))


def by_block(report: Report, kind: str) -> list[float]:
    """The largest deviation of each block; of gradients among its weights."""
    found: dict[int, float] = {}
    for row in report.rows:
        name = row.name
        if name.startswith(GRADIENTS):
            place, own = name.removeprefix(GRADIENTS).partition(".")[0], "gradient"
        else:
            own, _, place = name.partition(".")
        if own == kind and place.isdigit():
            found[int(place)] = max(found.get(int(place), np.finfo(float).tiny), row.deviation)
    return [found[block] for block in sorted(found)]


def curves(data: Path, work: Path) -> Figure:
    """Loss and dev accuracy against steps, from both starts."""
    starts = {"mobilebert-mini": str(MINI_MODEL), "random weights": str(MINI_MODEL / CONFIG_FILE)}
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, start in starts.items():
        output = work / name.replace(" ", "-")
        fine_tuned(SMALL_TASKS["atis_pos"], data, work, start, output, steps=STEPS)
        losses, scores = read_curves(output / CURVES_FILE), read_curves(output / SCORES_FILE)
        left.plot(*smooth(column(losses, "step"), column(losses, "loss")), linewidth=1, label=name)
        right.plot(column(scores, "step"), column(scores, "accuracy"), "o-", markersize=4, linewidth=1, label=name)
        print(name, [(int(row["step"]), round(float(row["accuracy"]), 4)) for row in scores], flush=True)
    left.set(xlabel="step", ylabel=f"training loss, mean of {SMOOTHED} steps", yscale="log")
    right.set(xlabel="step", ylabel="accuracy on the dev rows")
    right.legend(fontsize=8, loc="lower right")
    return figure


def column(rows: Sequence[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def smooth(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return steps[SMOOTHED - 1 :], np.convolve(values, np.ones(SMOOTHED) / SMOOTHED, mode="valid")


if __name__ == "__main__":
    main()

"""What a training tells people: its curves as a picture, and a model card with data, settings and scores."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.card_text import code, data_name, escaped, name_of
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.files import replacing, write_text
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from mobilebert_core.training.run_directory import CURVES_FILE, SCORES_FILE, scores_in
from mobilebert_core.training.tasks.training_task import TrainingTask

PICTURE_FILE = "curves.png"
CARD_FILE = "README.md"
FILES_SAID = ("", "The settings are in `training.json`, the curves in `curves.csv` and `scores.csv`.", "")  # ends cards
_SMOOTHED = 50  # steps over which the drawn loss is averaged, at most


def figure_class() -> Any:
    """The class of matplotlib that draws a picture; None without matplotlib, the numbers being in the CSV."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure


def save_picture(figure: Any, output: Path) -> Path:
    """Writes a figure into curves.png."""
    path = output / PICTURE_FILE
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return path


def draw_curves(output: Path) -> Path | None:
    """Draws loss and scores against steps into curves.png; None without matplotlib."""
    if (figure_of := figure_class()) is None:
        return None
    curve, scores = read_curves(output / CURVES_FILE), read_curves(output / SCORES_FILE)
    names = [name for name in scores_in(scores[-1] if scores else {}) if name != "skipped"]
    bounded = [name for name in names if all(abs(float(row[name])) <= 1 for row in scores)]
    figure = figure_of(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2 if bounded else 1, squeeze=False)[0]
    steps = np.array([int(row["step"]) for row in curve])
    losses = np.array([float(row["loss"]) for row in curve])
    panels[0].plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
    width = max(1, min(_SMOOTHED, len(losses) // 10))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    panels[0].plot(steps[width - 1 :], smooth, color="tab:blue", label=f"loss, mean of {width} steps")
    panels[0].set(xlabel="step", ylabel="training loss")
    panels[0].legend()
    if bounded:
        for name in bounded:
            panels[1].plot([int(r["step"]) for r in scores], [float(r[name]) for r in scores], marker="o", label=name)
        panels[1].set(xlabel="step", title="dev rows")
        panels[1].legend()
    return save_picture(figure, output)


def picture_missing() -> list[str]:
    """What is said where no picture of the curves can be drawn."""
    if find_spec("matplotlib") is not None:
        return []
    return ["no picture of the curves, which needs matplotlib: pip install 'mobilebert[plot]'."]


def write_card(
    training: Any, task: type[TrainingTask], recipe: Recipe, config: MobileBertConfig, results: Mapping[str, Any]
) -> Path:
    """Writes README.md: what the model is, what it learned from, how, and how well. Only measured numbers."""
    path: Path = training.output / CARD_FILE
    write_text(path, card(training, task, recipe, config, results))
    return path


def card(
    training: Any, task: type[TrainingTask], recipe: Recipe, config: MobileBertConfig, results: Mapping[str, Any]
) -> str:
    """The text of a model card."""
    rows = results["rows"]
    start = code(name_of(training.model))
    if names := results["newly_initialized"]:
        few = ", ".join(f"`{name}`" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        start += f"; newly initialized weights: {few}"
    lines = [
        "---",
        "library_name: mobilebert",
        f"pipeline_tag: {task.name}",
        "---",
        "",
        f"# {escaped(training.output.resolve().name)}",
        "",
        f"A MobileBERT (arXiv 2004.02984) trained for {task.name}.",
        "",
        f"- **Data:** {code(data_name(training.data))}: "
        + ", ".join(f"{count:,} {name} rows" for name, count in rows.items()),
        f"- **Start:** {start}",
        f"- **Size:** {config.num_hidden_layers} blocks, hidden {config.hidden_size}, vocabulary {config.vocab_size:,}",
        f"- **Trained with:** {training.backend}, {training.precision}, {recipe.optimizer}, "
        f"{recipe.steps(rows['train']):,} steps of {recipe.batch_size * recipe.accumulate} rows, "
        f"learning rate {recipe.learning_rate:g} after "
        f"{recipe.warmup:.0%} warm-up and falling to 0, weight decay {recipe.weight_decay:g}, gradients "
        + ("not clipped" if recipe.clip_norm is None else f"clipped at {recipe.clip_norm:g}")
        + (f", classifier dropout {config.head_dropout_prob:g}" if task.classifies else "")
        + f", seed {recipe.seed}",
    ]
    lines += [f"- **Note:** {escaped(note)}" for note in results["notes"]]
    if results["skipped"]:
        lines.append(f"- **Left out:** {len(results['skipped']):,} rows that could not be used")
    for split in ("dev", "test"):
        if results.get(split):
            lines += ["", *_scores(split, results, training.tune_thresholds)]
    if "dev" not in rows:
        lines += ["", "Not evaluated while it learned: there were no dev rows. This is the model of the last step."]
    if config.num_labels == 2 and "f1" in results.get("dev", {}) and "matthews" in results["dev"]:
        lines += ["", f"`f1` is that of the label {escaped((config.id2label or {}).get(1, '1'))}."]
    if task.names_labels and config.problem_type != "regression":
        labels = (config.id2label or {}).values()
        lines += ["", f"Labels: {', '.join(map(escaped, labels))}."]
    if task.head == "TokenClassification":
        lines += ["", "Labels belong to words between white space; the first piece of a word has its label."]
    return "\n".join([*lines, *FILES_SAID])


def _scores(split: str, results: Mapping[str, Any], tuned: bool) -> list[str]:
    scores = scores_in(results[split])
    lines = [f"## Scores on {results['rows'][split]:,} {split} rows", ""]
    if split == "dev":
        epoch = results["dev"]["epoch"]
        said = f"Of the evaluation with the best {results['best_metric']}, after {epoch:g} epoch{'s' * (epoch != 1)}."
        if tuned:
            said += " The thresholds of the labels were tuned on these very rows, so others will score lower."
        lines += [said, ""]
    return [*lines, "| score | value |", "|---|---|", *(f"| {name} | {value:.4f} |" for name, value in scores.items())]

"""What a knowledge transfer tells people: its curves by term and stage as a picture, and a model card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_core.card_text import code, data_name, escaped, name_of
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.files import write_text
from mobilebert_core.training.knowledge_transfer import STRATEGIES, TERMS
from mobilebert_core.training.knowledge_transfer_start import Pair
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from mobilebert_core.training.run_directory import CURVES_FILE, SCORES_FILE, scores_in

from .training_report import CARD_FILE, FILES_SAID, figure_class, save_picture


def draw_terms(output: Path, stages: Sequence[str]) -> Path | None:
    """Draws each weighted term against steps, and scores, into curves.png; None without matplotlib."""
    if (figure_of := figure_class()) is None:
        return None
    curve, scores = read_curves(output / CURVES_FILE), read_curves(output / SCORES_FILE)
    figure = figure_of(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in (name for name in TERMS if curve and name in curve[0]):
        points = [(int(row["step"]), float(row[name])) for row in curve if row[name]]
        if points:
            left.plot(*zip(*points, strict=True), linewidth=0.9, label=name.replace("_", " "))
    edges = [int(row["step"]) for before, row in itertools.pairwise(curve) if before["stage"] != row["stage"]]
    for panel in (left, right):
        for edge in edges:
            panel.axvline(edge, color="0.8", linewidth=0.8)
    left.set(xlabel="step", ylabel="weighted term", yscale="symlog", title=f"{len(stages)} stages")
    left.legend(fontsize="small")
    for name in ("loss", "masked_accuracy"):
        points = [(int(row["step"]), float(row[name])) for row in scores if row.get(name)]
        if points:
            axis = right if name == "loss" else right.twinx()
            colour = "tab:blue" if name == "loss" else "tab:green"
            axis.plot(*zip(*points, strict=True), marker="o", color=colour)
            axis.set_ylabel(f"dev {name.replace('_', ' ')}", color=colour)
    right.set(xlabel="step", title="held-out text")
    return save_picture(figure, output)


def write_transfer_card(distillation: Any, recipe: Recipe, pair: Pair, results: Mapping[str, Any]) -> Path:
    """Writes README.md: what the student is, from whom and from what it learned, how, and how well."""
    path: Path = distillation.output / CARD_FILE
    write_text(path, transfer_card(distillation, recipe, pair, results))
    return path


def transfer_card(distillation: Any, recipe: Recipe, pair: Pair, results: Mapping[str, Any]) -> str:
    """The text of the card. Only measured numbers."""
    student, teacher, rows = pair.student, pair.teacher, results["rows"]
    name = name_of(distillation.student)
    described = f" ({PRESETS[name].description.partition(':')[0]})" if name in PRESETS else ""
    rate = f"learning rate {recipe.learning_rate:g}"
    lines = [
        "---",
        "library_name: mobilebert",
        "pipeline_tag: fill-mask",
        "---",
        "",
        f"# {escaped(distillation.output.resolve().name)}",
        "",
        "A MobileBERT that learned masked words from text and from a teacher (arXiv 2004.02984, sections 3.3 to 3.5).",
        "",
        f"- **Data:** {code(data_name(distillation.data))}: "
        + ", ".join(f"{count:,} {split} rows" for split, count in rows.items()),
        f"- **Teacher:** {code(name_of(distillation.teacher))}: {_sizes(teacher)}",
        f"- **Student:** {code(name)}{described}: {_sizes(student)}, vocabulary {student.vocab_size:,}",
        f"- **Strategy:** {distillation.settings.strategy}: {STRATEGIES[distillation.settings.strategy]}",
        f"- **Trained with:** {distillation.backend}, {distillation.precision}, {recipe.optimizer}, batches of "
        f"{recipe.batch_size * recipe.accumulate} rows, {rate} after {recipe.warmup:.0%} warm-up of each stage, weight "
        f"decay {recipe.weight_decay:g}, seed {recipe.seed}",
    ]
    lines += [f"- **Note:** {escaped(note)}" for note in results["notes"]]
    lines += ["", "## Stages", "", "| stage | steps | terms with their weights |", "|---|---|---|"]
    for stage in results["stages"]:
        terms = ", ".join(f"{term.replace('_', ' ')} {weight:g}" for term, weight in stage["weights"].items())
        lines.append(f"| {stage['name']} | {stage['steps']:,} | {terms} |")
    if scores := scores_in(results["dev"]):
        lines += ["", f"## Scores on {rows['dev']:,} dev rows", "", f"Of step {results['dev']['step']:,}.", ""]
        lines += ["| score | value |", "|---|---|", *(f"| {n} | {v:.4f} |" for n, v in scores.items())]
    return "\n".join([*lines, *FILES_SAID])


def _sizes(config: MobileBertConfig) -> str:
    return f"{config.num_hidden_layers} blocks, {config.hidden_size} between and {config.true_hidden_size} inside them"

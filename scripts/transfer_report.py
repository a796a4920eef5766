"""What a study of knowledge transfer found, as a page and a picture: only measured numbers, and what was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mobilebert_core.files import replacing, write_text

from .machine import processor

PAGE, PICTURE = "transfer_study.md", "transfer_study.png"

_CARD = "https://github.com/mobilebert/mobilebert/blob/main/mobilebert_core/data/mobilebert-mini/README.md"

_PAGE = """\
# A study of knowledge transfer

Which way of teaching a small MobileBERT pays, on real text: a teacher, `ib-bert-4x256`, and students,
`mobilebert-4x256`, with a vocabulary of 8,000 words. {date}, {cpu}, {jobs}, one thread each, PyTorch, float32.

**The budget of this run: {tokens:,} tokens read by each student** ({steps:,} steps of {batch} rows of 128 tokens),
{whole}.
{small}The command:

    make transfer-study DATA=DIR TOKENS={tokens}

The teacher read {teacher_reads} times as many and finds {teacher:.1%} of the hidden words of the held-out text. Every
student and the teacher start with a bias of the words' frequencies and with vectors of words from counts of neighbours,
or with the teacher's embeddings, which started so, and a NoNorm that is fitted to the teacher's layer norm.

![masked words found by each way]({picture})

{table}

- **hidden words found**: of the held-out text, the same words for all. {spread}
- **seconds a step**: of the processor, startup of the run and evaluation included, the teacher's training not.
- **equal seconds**: the steps that fit into the seconds of {baseline!r}, and the words found after them. One seed, with
  which {baseline!r} finds {first}.
- {tasks}

## What it says

{said}

## What it does not say

The scores compare models by the same recipe. No learning rate was searched for any of them; the weights of the terms
are those of the released code, which were chosen for a wider model and far more text. The text is that of
[mobilebert-mini]({card}).
"""


def write_report(found: Mapping[str, Any], folder: Path) -> Path:
    """Writes the page and the picture into a folder; returns the page's path.

    Args:
        found: what `transfer_study.results` returns, with `whole` (whether all was run) and `jobs`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = {way: own for way, own in found["ways"].items() if own["masked"]}
    _draw(done, folder / PICTURE)
    write_text(folder / PAGE, _page(found, done))
    return folder / PAGE


def _page(found: Mapping[str, Any], done: Mapping[str, Any]) -> str:
    baseline = next(iter(found["ways"]))
    tasks = list(dict.fromkeys(task for own in done.values() for task in own["tasks"]))
    return _PAGE.format(
        date=f"{datetime.now(UTC):%d %B %Y}", cpu=processor(), tokens=found["tokens"], steps=found["steps"],
        batch=found["batch"],
        jobs="one run at a time" if found["jobs"] == 1 else f"{found['jobs']} runs at a time",
        whole="and all of the study was run" if found["whole"] else "**of which only what is shown here was run**",
        small="" if found["tokens"] >= 5_000_000 else "That is far too little to tell what a real training would "
        "gain: it shows that the study runs, and how the ways begin. ",
        teacher_reads=found["teacher_reads"], teacher=found.get("teacher", {}).get("masked_accuracy", float("nan")),
        picture=PICTURE, table=_table(done, tasks), spread=_spread(done), baseline=baseline,
        first=f"{done[baseline]['masked'][0]:.1%}" if baseline in done else "nothing yet",
        tasks=_of_which(tasks, found["share"]), said=_said(done, baseline, tasks), card=_CARD,
    )  # fmt: skip


def _of_which(tasks: Sequence[str], share: float) -> str:
    if not tasks:
        return "Tasks: not run, so nothing is known of how the students learn them."
    return (
        f"Tasks: accuracy on the dev rows of {', '.join(tasks)} after {share:.1%} of the steps of "
        "`scripts/small_tasks.py`; mean of the seeds."
    )


def _table(done: Mapping[str, Any], tasks: Sequence[str]) -> str:
    head = ["way", "seeds", "hidden words found", "seconds a step", "equal seconds: steps, found", *tasks]
    if tasks:
        head.append("mean of the tasks")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for way, own in done.items():
        equal = (
            f"{own['steps_equal_seconds']:,}, {own['masked_equal_seconds']:.1%}"
            if "steps_equal_seconds" in own
            else "-"
        )
        cells = [way, str(len(own["masked"])), _mean(own["masked"]), f"{own['seconds_a_step']:.3f}", equal]
        cells += [_mean(own["tasks"][task]) if task in own["tasks"] else "-" for task in tasks]
        if tasks:
            cells.append(f"{_of_tasks(own, tasks):.1%}" if set(tasks) <= set(own["tasks"]) else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_tasks(own: Mapping[str, Any], tasks: Sequence[str]) -> float:
    return sum(average(own["tasks"][task]) for task in tasks) / len(tasks)


def _spread(done: Mapping[str, Any]) -> str:
    most = max((len(own["masked"]) for own in done.values()), default=0)
    if most < 2:
        return "One seed: nothing is known of the spread."
    return "Where there are several seeds, mean ± standard deviation."


def _said(done: Mapping[str, Any], baseline: str, tasks: Sequence[str]) -> str:
    """The differences to the baseline, and whether they are beyond the spread of the seeds."""
    if baseline not in done:
        return "Nothing yet: the baseline has not been run."
    own, lines = done[baseline], []
    for way, other in done.items():
        if way == baseline:
            continue
        gain = average(other["masked"]) - average(own["masked"])
        seeds = min(len(other["masked"]), len(own["masked"]))
        noise = deviation(other["masked"]) + deviation(own["masked"])
        sure = "one seed" if seeds < 2 else ("beyond the spread" if abs(gain) > noise else "within the spread")
        line = f"- {way}: {100 * gain:+.1f} points of hidden words against {baseline} at equal steps ({sure})"
        if "masked_equal_seconds" in other:
            line += f", {100 * (other['masked_equal_seconds'] - own['masked'][0]):+.1f} at equal seconds (one seed)"
        if tasks and set(tasks) <= set(own["tasks"]) and set(tasks) <= set(other["tasks"]):
            line += f", {100 * (_of_tasks(other, tasks) - _of_tasks(own, tasks)):+.1f} points of the tasks' mean"
        lines.append(line + ".")
    return "\n".join(lines)


def _draw(done: Mapping[str, Any], path: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panel = figure.subplots()
    names = list(done)
    values = [100 * average(done[name]["masked"]) for name in names]
    spreads = [100 * deviation(done[name]["masked"]) for name in names]
    panel.barh(names, values, xerr=spreads, height=0.4, align="edge", label="equal steps")
    equal = [(n, 100 * done[n]["masked_equal_seconds"]) for n in names if "masked_equal_seconds" in done[n]]
    if equal:
        panel.barh(*zip(*equal, strict=True), height=-0.4, align="edge", label="equal seconds")
        panel.legend(loc="upper right", fontsize="small")
    panel.invert_yaxis()
    panel.set(xlabel="hidden words found in held-out text, %")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 of one value."""
    if len(values) < 2:
        return 0.0
    return float((sum((value - average(values)) ** 2 for value in values) / (len(values) - 1)) ** 0.5)


def _mean(values: Sequence[float]) -> str:
    return f"{average(values):.1%}" + (f" ± {100 * deviation(values):.1f}" if len(values) > 1 else "")

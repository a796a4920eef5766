"""README.md of an exported directory: what the file is, how it is run, how well it agrees with its source."""

from __future__ import annotations

from typing import Any

from mobilebert_core.card_text import code, escaped
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.exports import DYNAMIC
from mobilebert_core.tasks.table import TASKS

from .formats import EXPORT_FORMATS
from .record import ExportRecord
from .usage import snippet


def card(record: ExportRecord, size: int, config: MobileBertConfig, *, tokenizer: bool) -> str:
    """The text of the card; `size` is that of the model in bytes, `tokenizer` says whether one lies beside it."""
    task = next((task.name for task in TASKS.values() if task.head == record.head), None)
    tags = ["mobilebert", record.format, *(["transformers.js"] if record.format == "onnx" else [])]
    lines = ["---", *([f"pipeline_tag: {task}"] if task in _HUB_TASKS else []), "tags:", *(f"- {tag}" for tag in tags),
             "---", ""]  # fmt: skip
    shape = f"batch {_size(record.batch)}, length {_size(record.length)}"
    lines += [
        f"# {record.head_row.class_name} as {record.format}",
        "",
        f"Made from {code(record.source['name'])}: {EXPORT_FORMATS[record.format].about}.",
        "",
        f"- file: `{record.file}`, {size:,} bytes, {record.precision}",
        f"- inputs, {record.input_dtype}: {', '.join(f'`{name}`' for name in record.inputs.values())}; {shape}",
        f"- outputs, float32: {', '.join(f'`{name}`' for name in record.outputs)}",
        f"- norms folded into the weights: {record.folding or 'none'}",
        "",
        "## Agreement with the source",
        "",
        f"Run in its own runtime on {record.proof['rows']} rows of text, short and long, alone and padded.",
        "",
        "| output | largest deviation | equal decisions |",
        "|---|---|---|",
        *(
            f"| {name} | {each['deviation']:.1e} | {each['equal']:.1%} |"
            for name, each in record.proof["outputs"].items()
        ),
    ]
    if "scores" in record.proof:
        lines += [
            "",
            f"Scores on {record.proof['scores']['examples']:,} examples:",
            "",
            *_scores(record.proof["scores"]),
        ]
    program = snippet(record, config) if tokenizer else []
    if task is not None or program:
        lines += ["", "## Use"]
    if task is not None:
        lines += ["", "```", f"mobilebert predict {task} --model DIRECTORY ...", "```"]
    if program:
        lines += ["", "Without `mobilebert`, in this directory:", "", "```python", *program, "```"]
    lines += [f"\nNote: {escaped(note.rstrip('.'))}." for note in record.notes]
    return "\n".join(lines) + "\n"


_HUB_TASKS = ("fill-mask", "text-classification", "token-classification", "question-answering")


def _size(size: int | None) -> str:
    return DYNAMIC if size is None else str(size)


def _scores(scores: dict[str, Any]) -> list[str]:
    rows = ["| score | source | export |", "|---|---|---|"]
    return rows + [
        f"| {name} | {scores['source'][name]:.4f} | {value:.4f} |" for name, value in scores["export"].items()
    ]

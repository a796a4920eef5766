"""Answers of `mobilebert predict` for a person at a terminal: a few aligned lines for each input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.tasks.task_text import TaskText

Records = Sequence[Mapping[str, Any]]
LIKELY = 0.5  # labels with a higher score are shown; where none has, the best SHOWN
SHOWN = 3
LONGEST_INPUT = 76  # characters of an input that are shown above its answer


@dataclass(frozen=True)
class View:
    """How the answers of a task are shown: what a line is made of, and the lines of an answer.

    `records` gets the answer and the text side of the task, which has its options. More than two columns have a
    row of names above them.
    """

    columns: tuple[str, ...]
    records: Callable[[Any, TaskText], Records]


def _listed(answer: Any, text: TaskText) -> Records:
    return answer if isinstance(answer, list) else [answer]


def _likely(answer: Any, text: Any) -> Records:
    """The likely labels of many, unless the options say which to give."""
    labels = _listed(answer, text)
    if text.top_k is not None or text.threshold is not None:
        return labels
    return [each for each in labels if each["score"] > LIKELY] or labels[:SHOWN]


def _words(answer: Any, text: TaskText) -> Records:
    """Words for each mask, numbered where there are several masks."""
    if not answer or isinstance(answer[0], dict):
        return answer
    return [{**word, "mask": number} for number, words in enumerate(answer, 1) for word in words]


def _entities(answer: Any, text: TaskText) -> Records:
    return [{"entity": each.get("entity_group"), **each} for each in answer]


def _passages(answer: Any, text: TaskText) -> Records:
    return [{**each, "answer": each["answer"] or "(no answer)"} for each in _listed(answer, text)]


def _next(answer: Any, text: TaskText) -> Records:
    return [{**answer, "is_next": "follows" if answer["is_next"] else "does not follow"}]


def _vector(answer: Any, text: TaskText) -> Records:
    first = " ".join(f"{value:.4g}" for value in answer[:4])
    length = np.linalg.norm(np.asarray(answer, np.float64))
    return [{"vector": f"{first} ...", "size": f"{len(answer)} numbers, length {length:.4g}"}]


def _states(answer: Any, text: TaskText) -> Records:
    (states,) = answer
    first = " ".join(f"{value:.4g}" for value in states[0][:4])
    return [{"vector": f"{first} ...", "size": f"{len(states)} vectors of {len(states[0])} numbers"}]


def _pairs(answer: Any, text: TaskText) -> Records:
    return [{"label": n, "score": s} for n, s in zip(answer["labels"], answer["scores"], strict=True)]


VIEWS = {
    "fill-mask": View(("token_str", "score", "sequence"), _words),
    "text-classification": View(("label", "score"), _likely),
    "token-classification": View(("entity", "word", "score", "start", "end"), _entities),
    "question-answering": View(("answer", "score"), _passages),
    "next-sentence": View(("is_next", "score"), _next),
    "multiple-choice": View(("answer", "score"), _listed),
    "sentence-embedding": View(("vector", "size"), _vector),
    "feature-extraction": View(("vector", "size"), _states),
    "zero-shot-classification": View(("label", "score"), _pairs),
}


def table(answer: Any, task: str, text: TaskText) -> list[str]:
    """The lines that show an answer of a task."""
    view = VIEWS[task]
    records = view.records(answer, text)
    if not records:
        return ["(nothing found)"]
    columns = (*(("mask",) if "mask" in records[0] else ()), *view.columns)
    rows = [[_cell(record[name]) for name in columns] for record in records]
    if len(columns) > 2:
        rows.insert(0, list(columns))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())


class AnswerTable:
    """Prints answers as lines of text; the counterpart of `AnswerFile`.

    Attributes:
        text: the text side of the task, which has its options.
        with_inputs: each answer has the first text of its input above it.
    """

    def __init__(self, task: str, text: TaskText, with_inputs: bool) -> None:
        self.task, self.text, self.with_inputs = task, text, with_inputs
        self.done = 0  # nothing is resumed at a terminal
        self.written = 0
        self.finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def interrupted(self) -> str:
        """What an interruption leaves."""
        return f"{self.written} answers were shown"

    def unanswered(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        return rows

    def write(self, row: InputRow, answer: Any) -> None:
        indent = ""
        if self.with_inputs:
            shown = " ".join(str(next(iter(row.values.values()), "")).split())
            print(shown if len(shown) <= LONGEST_INPUT else shown[: LONGEST_INPUT - 3] + "...")
            indent = "  "
        print("\n".join(indent + each for each in table(answer, self.task, self.text)), flush=True)
        self.written += 1

"""Which of several texts fits best after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .probabilities import best_first, softmax
from .task_text import Outputs, Row, TaskText


@dataclass(frozen=True)
class MultipleChoice(TaskText):
    """{choice, answer, score, scores}: index and text of the best choice, its probability, and those of all.

    The head scores each choice by itself, so inputs may have different numbers of choices.
    """

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return [self.row_of(values["text"], choice) for choice in values["choices"]]

    def read(self, row: Row, outputs: Outputs) -> float:
        return float(outputs["logits"][0])  # of (1,): the row is the only choice

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> dict[str, Any]:
        probabilities = softmax(parts)
        best = best_first(probabilities, 1)[0]
        answer = values["choices"][best]
        return {"choice": best, "answer": answer, "score": float(probabilities[best]), "scores": probabilities.tolist()}

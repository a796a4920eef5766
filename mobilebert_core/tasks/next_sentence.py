"""Does one text follow another?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .probabilities import softmax
from .task_text import Outputs, Row, TaskText


@dataclass(frozen=True)
class NextSentence(TaskText):
    """{is_next, score}: the probability that `text_pair` follows `text` (class 0 of the head)."""

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return [self.row_of(values["text"], values["text_pair"])]

    def read(self, row: Row, outputs: Outputs) -> dict[str, Any]:
        follows, _ = softmax(outputs["logits"])  # (2,)
        return {"is_next": bool(follows >= 0.5), "score": float(follows)}

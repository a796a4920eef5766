"""How many inputs were longer than what is read of them, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mobilebert_core.tasks.task_text import Row, TaskText, options_of


@dataclass
class CutInputs:
    """Counts inputs; `notes` says how many of them were cut, and why."""

    total: int = 0
    texts: int = 0  # longer than a row
    questions: int = 0  # longer than max_question_length

    def add(self, text: TaskText, rows: Sequence[Row]) -> None:
        """One more input, in its rows."""
        self._text = text
        self.total += 1
        self.texts += any(row.cut for row in rows)
        self.questions += any(row.question_cut for row in rows)

    def notes(self) -> list[str]:
        """A sentence for each reason."""
        notes = []
        if self.texts:
            notes.append(
                f"{self._text.name}: {self.texts:,} of {self.total:,} inputs were longer than the "
                f"{self._text.row_limit} tokens of a row and cut; on_long {self._others()} does otherwise"
            )
        if self.questions:
            limit = getattr(self._text, "max_question_length", 0)
            notes.append(
                f"{self._text.name}: {self.questions:,} of {self.total:,} questions were longer than {limit} word "
                "pieces and cut; a higher max_question_length reads more of them, on_long 'error' refuses them"
            )
        return notes

    def _others(self) -> str:
        (on_long,) = [each for each in options_of(type(self._text)) if each.name == "on_long"]
        return " or ".join(repr(each) for each in on_long.metadata["choices"] if each != self._text.on_long)

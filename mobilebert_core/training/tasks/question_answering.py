"""Training on questions about texts, whose answers are passages of the text.

S tokens of a row, T tokens of a text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets.examples import BadRow, Examples, QuestionExample, ReadOptions
from ...datasets.squad_file import QUESTIONS
from ...errors import InputError
from ..recipe import Recipe
from . import metrics
from .labelled_task import TEXTS_AT_ONCE, FeatureRow, LabelledTask, bad_rows, features_of, items_of
from .training_task import Features


@dataclass(frozen=True, slots=True)
class Pieces:
    """A whole text in word pieces: ids, and the characters (T, 2) of the text that each stands for."""

    ids: list[int]
    offsets: np.ndarray


class QuestionAnsweringTraining(LabelledTask):
    """A row for each window of a text, pointing at the first answer, or at [CLS] when it is not whole in the window.

    Scores: `exact_match` and `f1` in percent, of the answers that the pipeline would give, as by the script of SQuAD
    1.1. With questions among the examples that have no answer, the model may give none (at [CLS], by a threshold of
    0), and the scores, as by the script of SQuAD 2.0, stand also apart for questions with (`has_answer_...`) and
    without an answer (`no_answer_...`), and for the best thresholds (`best_exact`, `best_f1`, `..._thresh`).
    """

    name = "question-answering"
    about = "answers in texts: SQuAD JSON, version 1 or 2, or JSON lines or Parquet"
    reader = QUESTIONS
    recipe = Recipe(epochs=7)
    options = ("doc_stride", "max_question_length", "max_answer_length", "n_best")
    best_metric = "f1"
    highest = 100.0  # percent

    @classmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        return {"num_labels": 2, "problem_type": None}  # a start and an end score for each token

    def features(self, examples: Examples) -> Features:
        bad, items, counts = bad_rows(examples), items_of(examples, QuestionExample), Counter[str]()
        rows: list[FeatureRow] = []
        for begin in range(0, len(items), TEXTS_AT_ONCE):
            some = items[begin : begin + TEXTS_AT_ONCE]
            texts = self._tokenized([item.context for item in some])
            questions = self._tokenized([item.question for item in some])
            for place, item in enumerate(some, begin):
                with bad.row(item.line):
                    rows += self._rows(place, item, questions[item.question].ids, texts[item.context], counts)
        notes = {
            "several": f"questions about long texts take several windows: {len(rows):,} rows",
            "cut": f"questions longer than {self.text.max_question_length} word pieces were cut",
            "long": f"answers longer than {self.text.max_answer_length} word pieces cannot be returned whole "
            "(max_answer_length)",
        }
        messages = [f"{counts[name]:,} of {len(items):,} {note}" for name, note in notes.items() if counts[name]]
        return features_of(examples, rows, messages, bad)

    def _rows(
        self, place: int, item: QuestionExample, question: list[int], pieces: Pieces, counts: Counter[str]
    ) -> list[FeatureRow]:
        """The rows of a question, one for each window of the text; raises BadRow."""
        for name, ids in (("question", question), ("context", pieces.ids)):
            if not ids:
                raise BadRow(f"{name} has no words.")
        span = _tokens(item.answers[0], pieces) if item.answers else None
        longest = self.text.max_question_length
        try:
            windows = self.text.windows(question[:longest], pieces)
        except InputError as e:
            raise BadRow(str(e)) from None
        counts["several"] += len(windows) > 1
        counts["cut"] += len(question) > longest
        counts["long"] += span is not None and span[1] - span[0] >= self.text.max_answer_length
        return [
            FeatureRow(
                row.input_ids,
                row.token_type_ids,
                _positions(span, row.about.window, row.about.first),
                place,
                row.about,
            )
            for row in windows
        ]

    def _tokenized(self, texts: list[str]) -> dict[str, Pieces]:
        """The pieces of each text, of equal ones once."""
        different = list(dict.fromkeys(texts))
        encoded = self.tokenizer(different, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return {
            text: Pieces(ids, np.array(offsets, np.int32).reshape(-1, 2))
            for text, ids, offsets in zip(different, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        }

    def labels(self, rows: Sequence[FeatureRow], length: int) -> dict[str, np.ndarray]:
        starts, ends = np.array([row.labels for row in rows], np.int32).T
        return {"start_positions": starts, "end_positions": ends}

    def score(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        best = self._best_answers(examples, rows, outputs)
        answers, items = self._with_none(examples, best), items_of(examples, QuestionExample)
        gold = {place: [text for _, text in items[place].answers] for place in answers}
        version = "2.0" if _some_have_none(examples) else "1.1"
        scores = metrics.squad(list(answers.values()), list(gold.values()), version)
        if _some_have_none(examples):
            for name, has in (("has_answer", True), ("no_answer", False)):
                if part := [place for place in answers if bool(gold[place]) == has]:
                    found = metrics.squad([answers[place] for place in part], [gold[place] for place in part], version)
                    scores |= {f"{name}_{metric}": value for metric, value in found.items()}
            texts, differences = zip(*best.values(), strict=True)
            scores |= metrics.best_of_thresholds(texts, list(gold.values()), differences)
        return scores

    def blind_score(self, examples: Examples, rows: Sequence[FeatureRow]) -> float:
        """Of giving no answer: those of questions without one are right."""
        items, asked = items_of(examples, QuestionExample), {row.example for row in rows}
        return 100 * sum(not items[place].answers for place in asked) / len(asked)

    def answers(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[int, str]:
        """The answer to each question that has rows, by its place in the examples; "" for none."""
        return self._with_none(examples, self._best_answers(examples, rows, outputs))

    def _with_none(self, examples: Examples, best: Mapping[int, tuple[str, float]]) -> dict[int, str]:
        """The answers by a threshold of 0, where some questions have none."""
        may_be_none = _some_have_none(examples)
        return {place: "" if may_be_none and null > 0 else answer for place, (answer, null) in best.items()}

    def _best_answers(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[int, tuple[str, float]]:
        """The best answer that is one to each question, and by how much the score of none exceeds its score."""
        text = self.text.with_options({"threshold": math.inf, "align_to_words": False})
        parts: dict[int, list[tuple[FeatureRow, Any]]] = {}
        for place, (row, output) in enumerate(zip(rows, outputs, strict=True)):
            shape = (len(row.input_ids),)
            read = {name: self.logits(output, shape, place, name) for name in ("start_logits", "end_logits")}
            parts.setdefault(row.example, []).append((row, text.read(row, read)))
        found, items = {}, items_of(examples, QuestionExample)
        for place, each in parts.items():
            values = {"question": items[place].question, "context": items[place].context}
            answer = text.combine(values, [row for row, _ in each], [part for _, part in each])
            found[place] = (answer["answer"], answer["null_difference"])
        return found


def _some_have_none(examples: Examples) -> bool:
    return any(isinstance(item, QuestionExample) and not item.answers for item in examples.items)


def _tokens(answer: tuple[int, str], pieces: Pieces) -> tuple[int, int]:
    """The first and the last token, both included, that share a character with an answer; raises BadRow."""
    begin, text = answer
    end = begin + len(text)
    first = int(np.searchsorted(pieces.offsets[:, 1], begin, side="right"))  # the first to end after it begins
    last = int(np.searchsorted(pieces.offsets[:, 0], end, side="left")) - 1  # the last to begin before it ends
    if first > last:
        raise BadRow(f"answer {text[:60]!r} has no words.")
    return first, last


def _positions(span: tuple[int, int] | None, window: Any, first: int) -> tuple[int, int]:
    """Where a row points: at the span if its window has it whole, else at [CLS]."""
    if span is None or span[0] < window.start or span[1] >= window.end:
        return 0, 0
    return span[0] - window.start + first, span[1] - window.start + first

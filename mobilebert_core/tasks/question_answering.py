"""The passage of a text that answers a question (released code, run_squad.py), over texts of any length.

S tokens of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from .probabilities import best_first, softmax
from .task_text import CUT, ERROR, WINDOWS, Outputs, Row, TaskText, option
from .windows import Window, windows_over

_WINDOW = 384  # tokens, as in run_squad.py


@dataclass(frozen=True)
class WindowRow:
    """Where a row's text begins, and the window and whole text that it shows."""

    first: int  # the row's token at which the text begins
    window: Window
    pieces: Any


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end`, both included, of the whole text, and the sum of their two scores."""

    score: float
    start: int
    end: int


@dataclass(frozen=True)
class QuestionAnswering(TaskText):
    """{score, start, end, answer}, or a list of them for `top_k` above 1: `answer` is `context[start:end]`.

    `score` is the probability among the `n_best` spans. With a `threshold` the text may hold no answer: it is empty, at
    0 to 0, when the score of no answer (the smallest over all windows) exceeds the best span's by more than that,
    and every answer has that difference as `null_difference`. transformers' `handle_impossible_answer` is a threshold
    of 0.
    """

    in_transformers: ClassVar[Mapping[str, str]] = {
        "max_seq_len": "max_length", "max_question_len": "max_question_length", "max_answer_len": "max_answer_length",
        "topk": "top_k",
    }  # fmt: skip

    max_length: int | None = option(_WINDOW, int, "tokens of question and text in a window", least=8)
    on_long: str = option("windows", str, "what becomes of longer contexts: read in windows, cut (and counted), or an "
                          "error", (WINDOWS, CUT, ERROR))  # fmt: skip
    doc_stride: int = option(128, int, "tokens from window to window of a long text, at most half a window", least=1)
    max_question_length: int = option(64, int, "word pieces of the question that are read", least=1)
    max_answer_length: int = option(30, int, "word pieces of an answer at most", least=1)
    n_best: int = option(20, int, "spans over which probabilities add up to 1", least=1)
    top_k: int = option(1, int, "answers to give, best first", least=1)
    threshold: float | None = option(
        None, float, "allow no answer: when its score is higher by more than this (0 is the usual value)"
    )
    align_to_words: bool = option(True, bool, "begin and end answers with whole words")

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options; `handle_impossible_answer` sets the threshold, unless there is one."""
        options = dict(options)
        impossible = options.pop("handle_impossible_answer", None)
        if impossible is not None and not isinstance(impossible, bool):
            raise InputError(f"{self.name}: handle_impossible_answer must be True or False, got {impossible!r}.")
        if impossible and options.get("threshold") is None and self.threshold is None:
            options["threshold"] = 0.0
        elif impossible is False:
            options["threshold"] = None
        return super().with_options(options)

    def __post_init__(self) -> None:
        if self.max_length == QuestionAnswering.max_length:  # the default bends to a smaller model
            object.__setattr__(self, "max_length", min(_WINDOW, self.config.max_position_embeddings))
        super().__post_init__()

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        question, longer = self._question(values["question"])
        pieces = self.pieces_of(values["context"])
        for name, ids in (("question", question), ("context", pieces.ids)):
            if not ids:
                raise InputError(f"{self.name}: {name} has no words, got {values[name][:60]!r}.")
        rows = self.as_on_long(self.windows(question, pieces), values["context"])
        return [replace(row, question_cut=True) for row in rows] if longer else rows

    def _question(self, text: str) -> tuple[list[int], bool]:
        """The ids of a question, and whether they are only its beginning."""
        limit = self.max_question_length
        encoded = self.tokenizer(text, add_special_tokens=False, truncation=True, max_length=limit + 1, verbose=False)
        ids = encoded["input_ids"]
        if len(ids) > limit and self.on_long == ERROR:
            raise InputError(
                f"{self.name}: wanted a question of at most {limit} word pieces (max_question_length), got more: "
                f"{text[:40]!r}..."
            )
        return ids[:limit], len(ids) > limit

    def windows(self, question: list[int], pieces: Any) -> list[Row]:
        """The rows of a question, as ids, over a text, as its `ids` (and `offsets`, for `combine`)."""
        room = self.row_limit - len(question) - self.tokenizer.num_special_tokens_to_add(pair=True)
        if room < 1:
            raise InputError(
                f"{self.name}: a question of {len(question)} word pieces leaves no room for text in max_length "
                f"{self.row_limit}. Raise max_length or lower max_question_length."
            )
        first = len(question) + 2  # after [CLS] question [SEP]
        return [
            self.row_of_ids(question, pieces.ids[w.start : w.end], WindowRow(first, w, pieces))
            for w in windows_over(len(pieces.ids), room, min(self.doc_stride, (room + 1) // 2))
        ]

    def read(self, row: Row, outputs: Outputs) -> tuple[float, list[Span]]:
        """The score of no answer, and the best spans of the window."""
        length = len(row.input_ids)
        starts, ends = (np.asarray(outputs[n][:length], np.float64) for n in ("start_logits", "end_logits"))  # (S,)
        null = float(starts[0] + ends[0])
        spans = best_spans(starts, ends, row.about.first, row.about.window, self.n_best, self.max_answer_length)
        return null, spans

    def _aligned(self, pieces: Any, span: Span) -> tuple[int, int]:
        """The first and the last piece of an answer, of whole words where that is wanted."""
        first, last = span.start, span.end
        if self.align_to_words:
            words = pieces.word_ids
            while first > 0 and words[first - 1] == words[span.start]:
                first -= 1
            while last + 1 < len(words) and words[last + 1] == words[span.end]:
                last += 1
        return first, last

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> Any:
        offsets, context = rows[0].about.pieces.offsets, values["context"]
        null = min(score for score, _ in parts)
        spans = sorted((span for _, found in parts for span in found), key=lambda span: -span.score)
        places: dict[str, tuple[float, int, int]] = {}  # by text: of equal ones the best stays
        for span in spans:
            first, last = self._aligned(rows[0].about.pieces, span)
            start, end = offsets[first][0], offsets[last][1]
            if context[start:end] not in places and len(places) < self.n_best:
                places[context[start:end]] = (span.score, start, end)
        candidates = list(places.values())
        difference = null - candidates[0][0]
        if self.threshold is not None:
            candidates.append((null, 0, 0))
        probabilities = softmax([score for score, _, _ in candidates])
        order = best_first(probabilities)
        if self.threshold is not None:  # the threshold, not the probability, says where no answer stands
            nothing = len(candidates) - 1
            by_probability = order.index(nothing)
            order.remove(nothing)
            order.insert(0 if difference > self.threshold else max(1, by_probability), nothing)
        answers = []
        for place in order[: self.top_k]:
            _, start, end = candidates[place]
            found = {"score": float(probabilities[place]), "start": start, "end": end, "answer": context[start:end]}
            answers.append(found if self.threshold is None else found | {"null_difference": difference})
        return answers[0] if self.top_k == 1 else answers


def best_spans(
    starts: np.ndarray, ends: np.ndarray, first: int, window: Window, n_best: int, max_answer_length: int
) -> list[Span]:
    """The best spans of a window, best first, from scores (S,) of a row whose text begins at token `first`.

    Starts and ends are sought among the `n_best` highest of the row. A span must start where this window gives the
    text best. Where that leaves none, all starts and ends of the text are looked at.
    """
    size = window.end - window.start
    text = slice(first, first + size)

    def kept(scores: np.ndarray, prune: bool) -> np.ndarray:
        if not prune:
            return scores[text]
        highest = np.zeros(len(scores), bool)
        highest[best_first(scores, n_best)] = True
        return np.where(highest[text], scores[text], -np.inf)

    for prune in (True, False):
        begin = np.where(window.is_max_context, kept(starts, prune), -np.inf)  # (size,)
        end = np.concatenate([kept(ends, prune), np.full(max_answer_length, -np.inf)])
        totals = begin[:, None] + np.lib.stride_tricks.sliding_window_view(end, max_answer_length)[:size]
        order = [i for i in best_first(totals.ravel(), n_best) if np.isfinite(totals.flat[i])]
        if order:
            break
    spans = []
    for index in order:
        place, longer = divmod(index, max_answer_length)
        at = window.start + place
        spans.append(Span(float(totals.flat[index]), at, at + longer))
    return spans

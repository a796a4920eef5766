"""A label, several labels or a number for a text or a pair of texts.

C labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from ..heads import HEADS, problem_type_of
from .probabilities import best_first, sigmoid, softmax
from .task_text import CUT, ERROR, WINDOWS, Outputs, Row, TaskText, option
from .windows import weighted_mean

FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "none": lambda scores: np.asarray(scores, np.float64)}


class Label(dict[str, Any]):
    """{label, score}; `answer[0]` is the answer itself, as transformers gives one text a list of one."""

    def __missing__(self, key: Any) -> Any:
        if key == 0:
            return self
        raise KeyError(key)


EVERY = 1 << 30  # labels: more than a model has


@dataclass(frozen=True)
class TextClassification(TaskText):
    """{label, score}; a list of them, best first, where several labels may hold or `top_k` asks for more.

    `problem_type` of the configuration says what scores mean: probabilities that add to 1, probabilities each by
    itself, or plain numbers (regression, which one label without a problem type also means, as in training).

    With `on_long` "windows" a longer text is read in windows that overlap by a quarter. Its scores are the mean of
    theirs, each by the number of tokens that it knows best.
    """

    top_k: int | None = option(None, int, "labels to give, best first (default: the best, or all of several)", least=1)
    threshold: float | None = option(None, float, "give every label with at least this score, and no other")
    function_to_apply: str | None = option(
        None, str, "how scores become probabilities (default: as the model was trained)", tuple(FUNCTIONS)
    )

    on_long: str = option("cut", str, "what becomes of longer texts: cut (and counted), an error, or the mean over "
                          "windows", (CUT, ERROR, WINDOWS))  # fmt: skip

    all_scores: bool = field(default=False, kw_only=True)  # as transformers gives them

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options; a `top_k` of None that is passed is every label, as in transformers.

        `return_all_scores` is what it is there: every label in the order of the numbers, for one text alone in a list
        of one; without truth the best label. `function_to_apply` may have capitals, and "default" is as the model was
        trained.
        """
        options = dict(options)
        if isinstance(function := options.get("function_to_apply"), str):
            options["function_to_apply"] = None if function.lower() == "default" else function.lower()
        every = options.pop("return_all_scores", None)
        changed = replace(self, all_scores=bool(every)) if every is not None or "top_k" in options else self
        if "top_k" in options:
            changed = replace(changed, all_scores=False)
        elif every is not None:
            options["top_k"] = None if every else 1
        if options.get("top_k", EVERY) is None:
            options["top_k"] = EVERY
        return super(TextClassification, changed).with_options(options)

    def returned(self, answer: Any, framework: str, alone: bool) -> Any:
        return [answer] if self.all_scores and alone else answer

    @property
    def function(self) -> str:
        """softmax, sigmoid or none."""
        if self.function_to_apply is not None:
            return self.function_to_apply
        functions: dict[str | None, str] = {REGRESSION: "none", MULTI_LABEL: "sigmoid"}
        return functions.get(self.problem, "softmax")

    @property
    def problem(self) -> str | None:
        """What the model was trained for, by the names of `problem_type`."""
        (task,) = HEADS["SequenceClassification"].tasks
        return problem_type_of(self.config, task, self.config.num_labels, integer_labels=True)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return self.rows_of_texts(values)

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        return FUNCTIONS[self.function](outputs["logits"])  # (C,)

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> Any:
        scores = weighted_mean([row.about for row in rows], parts)
        order = range(len(scores)) if self.all_scores else best_first(scores, self.top_k)
        found: list[dict[str, Any]] = [{"label": self.label(i), "score": float(scores[i])} for i in order]
        if self.threshold is not None:
            return [each for each in found if each["score"] >= self.threshold]
        one = self.problem == SINGLE_LABEL or len(scores) == 1
        return Label(found[0]) if self.top_k == 1 or (self.top_k is None and one) else found

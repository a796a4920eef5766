"""Training on texts, or pairs of texts, with one label, several labels or a number.

C labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...configuration.config import MobileBertConfig
from ...configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from ...datasets.examples import BadRow, Examples, ReadOptions, TextExample, brief
from ...datasets.labelled_tables import LABELLED_TEXTS
from ...datasets.labels import LabelIds, check_single, label_fields, looks_like_regression, number
from ...errors import DataError
from ...text.tokenization_base import TokenizerBase
from ..recipe import Recipe
from . import metrics
from .labelled_task import FeatureRow, LabelledTask, bad_rows, features_of, items_of
from .training_task import Features

_LARGEST = float(np.finfo(np.float32).max)


class TextClassificationTraining(LabelledTask):
    """Labels as `problem_type` of the configuration says: see `config_fields`, which chooses it.

    In JSON lines several labels may be an object of probabilities, {"joy": 0.8, "love": 0.3}, to learn from a teacher;
    for scores a label counts from 0.5.

    Scores: `accuracy`, `f1_micro`, `f1_macro` and `matthews` of one label, with two labels also `f1` of the one with
    the number 1; `f1_micro`, `f1_macro` and `subset_accuracy` of several, each predicted where its logit exceeds 0;
    `pearson`, `spearman` and `mse` of numbers.
    """

    name = "text-classification"
    aliases = ("sequence-classification",)
    about = "one label, several labels or a number for texts or pairs: CSV, TSV, JSON lines or Parquet"
    reader = LABELLED_TEXTS
    recipe = Recipe(learning_rate=5e-5)
    classifies = names_labels = True

    def __init__(
        self, tokenizer: TokenizerBase, config: MobileBertConfig, max_length: int | None = None, **options: Any
    ) -> None:
        super().__init__(tokenizer, config, max_length, **options)
        self.problem: str = self.text.problem
        self.best_metric = {MULTI_LABEL: "f1_micro", REGRESSION: "pearson"}.get(self.problem, "accuracy")

    @classmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        """Labels and `problem_type`: the one passed, several labels where any row has a list of them, regression where
        all labels are numbers and some not whole, else one label.
        """
        labels = [item.label for item in items_of(examples, TextExample)]
        several = any(isinstance(label, tuple) for label in labels)
        each = [name for label in labels for name in ((label,) if isinstance(label, str) else label)]
        problem = options.problem_type
        if problem is None:
            numbers = not several and options.label_names is None and looks_like_regression(each, examples.path)
            problem = MULTI_LABEL if several else REGRESSION if numbers else SINGLE_LABEL
            if problem == SINGLE_LABEL and options.label_names is None:
                check_single(each, examples.path)
        elif several and problem != MULTI_LABEL:
            raise DataError(f"{examples.path}: problem_type {problem} wants one label a row, got rows with a list.")
        if problem == REGRESSION:
            if options.label_names is not None:
                raise DataError(f"{examples.path}: regression learns numbers, label_names was passed. Leave one out.")
            return {"num_labels": 1, "problem_type": REGRESSION}
        least = 1 if problem == MULTI_LABEL else 2
        return {**label_fields(each, examples, options, least), "problem_type": problem}

    def features(self, examples: Examples) -> Features:
        bad, label_ids = bad_rows(examples), LabelIds(self.config, examples)
        kept: list[tuple[int, TextExample, Any]] = []
        for place, item in enumerate(items_of(examples, TextExample)):
            try:
                kept.append((place, item, self._label(item, label_ids)))
            except BadRow as e:
                bad.add(item.line, str(e))
        ids, cut = self.encoded([item.text for _, item, _ in kept], [item.pair for _, item, _ in kept])
        rows = [
            FeatureRow(row, types, label, place)
            for (place, _, label), (row, types) in zip(kept, ids, strict=True)
        ]  # fmt: skip
        notes = self.cut_note(cut, len(rows), "texts")
        special = self.tokenizer.num_special_tokens_to_add()
        if bare := sum(row.length <= special for row in rows):
            notes.append(f"{bare:,} of {len(rows):,} texts hold no character that the tokenizer keeps")
        return features_of(examples, rows, notes, bad)

    def _label(self, item: TextExample, label_ids: LabelIds) -> Any:
        """A class number, the probability of each of several, or a number; raises BadRow."""
        label = item.label
        if self.problem == MULTI_LABEL:
            names = (label,) if isinstance(label, str) else label
            return dict(zip(map(label_ids, names), item.probabilities or (1.0,) * len(names), strict=True))
        if not isinstance(label, str):
            raise BadRow(f"wanted one label, as the model has been made for {self.problem}, got {brief(label)}.")
        if self.problem == SINGLE_LABEL:
            return label_ids(label)
        value = number(label)
        if value is None or not math.isfinite(value):
            raise BadRow(f"label must be a finite number, got {label!r}.")
        if abs(value) > _LARGEST:
            raise BadRow(f"label must be a number that float32 holds, got {label!r}.")
        return value

    def labels(self, rows: Sequence[FeatureRow], length: int) -> dict[str, np.ndarray]:
        if self.problem == MULTI_LABEL:
            return {"labels": self._probabilities(rows)}
        kind = np.float32 if self.problem == REGRESSION else np.int32
        return {"labels": np.array([row.labels for row in rows], kind)}

    def _probabilities(self, rows: Sequence[FeatureRow]) -> np.ndarray:
        """(rows, C) float32 with the probability of each label that a row has: 1 unless the file says another."""
        found = np.zeros((len(rows), self.config.num_labels), np.float32)
        for place, row in enumerate(rows):
            found[place, list(row.labels)] = list(row.labels.values())
        return found

    def check_libraries(self) -> None:
        (metrics.SCIPY if self.problem == REGRESSION else metrics.SCIKIT_LEARN).load()

    def score(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        shape = (self.config.num_labels,)
        logits = np.stack([self.logits(output, shape, i) for i, output in enumerate(outputs)])  # (rows, C)
        if self.problem == MULTI_LABEL:
            return metrics.multi_label(logits, self._probabilities(rows) >= 0.5)
        gold = np.array([row.labels for row in rows])
        if self.problem == REGRESSION:
            return metrics.regression(logits[:, 0], gold)
        predicted = logits.argmax(axis=1)
        found = metrics.single_label(predicted, gold)
        return found if self.config.num_labels != 2 else found | metrics.positive_f1(predicted, gold)

    def blind_score(self, examples: Examples, rows: Sequence[FeatureRow]) -> float:
        """Numbers do not correlate with a constant; several labels are all those whose F1 together is best."""
        if self.problem == REGRESSION:
            return 0.0
        if self.problem != MULTI_LABEL:
            return metrics.most_frequent_share(row.labels for row in rows)
        counts = np.sort((self._probabilities(rows) >= 0.5).sum(axis=0))[::-1]
        predicted = len(rows) * np.arange(1, len(counts) + 1)
        return float(np.max(2 * np.cumsum(counts) / (predicted + counts.sum())))

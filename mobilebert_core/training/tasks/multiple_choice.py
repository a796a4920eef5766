"""Training on texts with several choices to go on, one of them right.

B batch, S tokens of the longest choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ...datasets.examples import ChoiceExample, Examples, ReadOptions
from ...datasets.labelled_tables import CHOICES
from ..recipe import Recipe
from . import metrics
from .labelled_task import FeatureRow, LabelledTask, bad_rows, features_of, flat, items_of
from .training_task import Features


class MultipleChoiceTraining(LabelledTask):
    """A row has all choices of an example, each after the text. Scores: `accuracy`."""

    name = "multiple-choice"
    about = "the best of several texts: JSON lines or CSV, such as SWAG"
    reader = CHOICES
    recipe = Recipe(learning_rate=5e-5, batch_size=16)
    classifies = True

    @classmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        return {"problem_type": None}  # each choice has one score, whatever num_labels is

    def features(self, examples: Examples) -> Features:
        items = items_of(examples, ChoiceExample)
        pairs = [(item.text, choice) for item in items for choice in item.choices]
        ids, cut = self.encoded([text for text, _ in pairs], [choice for _, choice in pairs])
        each, rows = iter(ids), []
        for place, item in enumerate(items):
            some = [next(each) for _ in item.choices]
            rows.append(FeatureRow([row for row, _ in some], [types for _, types in some], item.label, place))
        return features_of(examples, rows, self.cut_note(cut, len(pairs), "texts with a choice"), bad_rows(examples))

    def _padded(self, rows: Sequence[Any], length: int) -> dict[str, np.ndarray]:
        inputs = super()._padded(list(chain.from_iterable(map(flat, rows))), length)
        return {name: array.reshape(len(rows), -1, length) for name, array in inputs.items()}

    def score(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        chosen = [
            int(self.logits(output, (len(row.input_ids),), place).argmax())
            for place, (row, output) in enumerate(zip(rows, outputs, strict=True))
        ]
        return {"accuracy": float(np.mean(np.array(chosen) == np.array([row.labels for row in rows])))}

    def blind_score(self, examples: Examples, rows: Sequence[FeatureRow]) -> float:
        """Of always choosing the same place."""
        return metrics.most_frequent_share(row.labels for row in rows)

"""Scores of the model under training on the rows of one file."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from mobilebert_core.datasets.examples import Examples
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.training.loop import EVALUATION
from mobilebert_core.training.ranks import ALONE, Ranks
from mobilebert_core.training.tasks.metrics import tuned_thresholds
from mobilebert_core.training.tasks.training_task import Features, TrainingTask
from mobilebert_core.training.trainer import TrainerBase

EVALUATION_BATCH = 64  # rows; nothing is kept for gradients, so more fit than in training


class Evaluation:
    """Scores of the trainer's model; called, it first tunes the thresholds of the labels if it is to. Every rank calls.

    Attributes:
        thresholds: those of the last call, (C,) logits, or None.
    """

    def __init__(
        self,
        trainer: TrainerBase | Runner,
        task: TrainingTask,
        examples: Examples,
        features: Features,
        seed: int,
        tune: bool,
    ) -> None:
        self.trainer, self.task, self.examples, self.features = trainer, task, examples, features
        self.seed, self.tune = seed, tune
        self.ranks: Ranks = getattr(trainer, "ranks", ALONE)  # a runner computes in one process
        self.thresholds: np.ndarray | None = None

    def __call__(self) -> dict[str, float]:
        row_metrics = self._row_metrics()
        scores, self.thresholds = self.ranks.first(lambda: self._scores(row_metrics))
        return scores

    def plain(self) -> dict[str, float]:
        """Scores without tuning, of a model whose thresholds are in its bias."""
        row_metrics = self._row_metrics()
        return self.ranks.first(lambda: self.task.scores(self.examples, self.features, row_metrics))

    def _scores(self, row_metrics: list[Any]) -> tuple[dict[str, float], np.ndarray | None]:
        thresholds = None
        if self.tune:
            logits = np.stack([row["logits"] for row in row_metrics])
            labels = self.task.batch(self.features.rows, np.random.default_rng(self.seed))["labels"]
            thresholds = tuned_thresholds(logits, labels >= 0.5)  # as `scores` counts probabilities of labels
            row_metrics = [{"logits": row - thresholds} for row in logits]
        return self.task.scores(self.examples, self.features, row_metrics), thresholds

    def _row_metrics(self) -> list[Any]:
        """Those of all rows on the first rank; each rank computes some of the batches."""
        rows, ranks = self.features.rows, self.ranks
        order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
        starts = range(0, len(order), EVALUATION_BATCH)
        own: list[tuple[int, Any]] = []
        for number in range(-(-len(starts) // ranks.count)):
            turn = number * ranks.count + ranks.rank
            start = starts[min(turn, len(starts) - 1)]  # without one left a rank computes along: weights may be sharded
            places = order[start : start + EVALUATION_BATCH]
            rng = np.random.default_rng([self.seed, EVALUATION, start])
            batch = self.task.evaluation_batch([rows[i] for i in places], rng)
            metrics = self.task.row_metrics(batch, self.trainer.run(batch))
            if turn < len(starts):
                own += zip(places, metrics, strict=True)
        found: list[Any] = [None] * len(rows)
        for place, each in itertools.chain(*ranks.gather(own)):
            found[place] = each
        return found

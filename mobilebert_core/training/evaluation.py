"""Scores of a model on the rows of one file: of one under training, of a loaded one, or of an exported file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..datasets.examples import Examples, ReadOptions
from ..tasks.runner import Runner
from .loop import EVALUATION
from .ranks import ALONE, Ranks
from .tasks.labelled_task import LabelledTask
from .tasks.metrics import tuned_thresholds
from .tasks.training_task import Features, TrainingTask
from .trainer import TrainerBase

EVALUATION_BATCH = 64  # rows; nothing is kept for gradients, so more fit than in training
_LEAST_LEARNED = 0.05  # of what lies between the score of always the same answer and the highest


class Evaluation:
    """Scores of the trainer's model; called, it first tunes the thresholds of the labels if it is to. Every rank calls.

    Attributes:
        batch_size: rows at once. In tasks that hide words it decides, with the seed, which.
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
        batch_size: int = EVALUATION_BATCH,
    ) -> None:
        self.trainer, self.task, self.examples, self.features = trainer, task, examples, features
        self.seed, self.tune, self.batch_size = seed, tune, batch_size
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

    def notes(self, best: Mapping[str, float]) -> list[str]:
        """What the best scores of a training say: that an answer which looks at no text would do about as well."""
        if not isinstance(self.task, LabelledTask):
            return []
        name, highest = self.task.best_metric, self.task.highest
        blind = self.task.blind_score(self.examples, self.features.rows)
        if blind is None or best[name] - blind >= _LEAST_LEARNED * (highest - blind):
            return []
        return [
            f"the best {name} on the dev rows is {best[name]:.4g}, and always the same answer has {blind:.4g}: little "
            "was learned from the texts. Try another learning rate (--learning-rate sweep tries several), more epochs "
            "or rows, or a pretrained start"
        ]

    def _scores(self, row_metrics: list[Any]) -> tuple[dict[str, float], np.ndarray | None]:
        thresholds = None
        if self.tune:
            logits = np.stack([row["logits"] for row in row_metrics])
            task = cast(LabelledTask, self.task)  # whose labels are of whole texts: no length matters
            labels = task.labels(self.features.rows, 0)["labels"]
            thresholds = tuned_thresholds(logits, labels >= 0.5)  # as `scores` counts probabilities of labels
            row_metrics = [{"logits": row - thresholds} for row in logits]
        return self.task.scores(self.examples, self.features, row_metrics), thresholds

    def _row_metrics(self) -> list[Any]:
        """Those of all rows on the first rank; each rank computes some of the batches."""
        rows, ranks = self.features.rows, self.ranks
        order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
        starts = range(0, len(order), self.batch_size)
        own: list[tuple[int, Any]] = []
        for number in range(-(-len(starts) // ranks.count)):
            turn = number * ranks.count + ranks.rank
            start = starts[min(turn, len(starts) - 1)]  # without one left a rank computes along: weights may be sharded
            places = order[start : start + self.batch_size]
            rng = np.random.default_rng([self.seed, EVALUATION, start])
            batch = self.task.evaluation_batch([rows[i] for i in places], rng)
            metrics = self.task.row_metrics(batch, self.trainer.run(batch))
            if turn < len(starts):
                own += zip(places, metrics, strict=True)
        found: list[Any] = [None] * len(rows)
        for place, each in itertools.chain(*ranks.gather(own)):
            found[place] = each
        return found


class TaskFile:
    """A file of examples, read once, on which several models are scored.

    Raises:
        DataError: for a file that cannot be read, or whose labels the model does not have.
        BackendMissingError: when the library with a metric is not installed.
    """

    def __init__(self, task: TrainingTask, path: Path, read: ReadOptions = ReadOptions(), seed: int = 0) -> None:  # noqa: B008
        task.check_libraries()
        self.task, self.seed = task, seed
        self.examples = task.read(path, read)
        self.features = task.features(self.examples)

    def scores(self, runner: Runner, batch_size: int = EVALUATION_BATCH) -> dict[str, float]:
        """The scores of one model by name, those that its training prints."""
        return Evaluation(runner, self.task, self.examples, self.features, self.seed, False, batch_size).plain()

"""The scores of a model, or of an exported file, on a task file with labels, as training computes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ExportError
from mobilebert_core.heads import Head
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.table import TRAINING_TASKS

_BATCH = 32


class TaskFile:
    """A file of labelled examples, read once, on which several models are scored.

    Raises:
        ExportError: for a head without labelled files.
        DataError: for a file that cannot be read, or whose labels the model does not have.
        BackendMissingError: when the library with a metric is not installed.
    """

    def __init__(
        self, path: Path, tokenizer: TokenizerBase, config: MobileBertConfig, head: Head, length: int | None = None
    ) -> None:
        labelled = [task for task in TRAINING_TASKS.values() if issubclass(task, LabelledTask)]
        task = next((task for task in labelled if task.head == head.name), None)
        if task is None:
            raise ExportError(f"{path}: no task file says how well a {head.class_name} does. Leave --evaluate out.")
        self.task = task(tokenizer, config, length)
        self.task.check_libraries()
        self.examples = task.read(path)
        self.features = self.task.features(self.examples)

    def scores(self, runner: Runner) -> dict[str, float]:
        """The scores of one model, by name."""
        rows = self.features.rows
        order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
        found: list[Mapping[str, Any]] = [{}] * len(rows)
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            batch = self.task.evaluation_batch([rows[i] for i in places], np.random.default_rng(start))
            for place, each in zip(places, self.task.row_metrics(batch, runner.run(batch)), strict=True):
                found[place] = each
        return self.task.scores(self.examples, self.features, found)

"""The objective of a task with a teacher: labels of the file, and the teacher's scores that come with the batch.

B batch, S sequence, C classes. Twin: mobilebert_torch/task_distillation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.heads import Head, Task
from mobilebert_core.training.soft_labels import TEACHER, SoftLabels

from .distributed import counted
from .knowledge_transfer import soft
from .losses import labelled_rows
from .policies import widened


class TaskDistillation:
    """Model and batch -> the terms "hard" and "soft" with their shares.

    The soft term is the cross-entropy with the teacher less its entropy, at a temperature and times its square; for
    several labels that of each; for numbers the squared difference.
    """

    def __init__(self, head: Head, problem: str | None, soft_labels: SoftLabels) -> None:
        self.head, self.problem, self.soft_labels = head, problem, soft_labels

    def __call__(self, model: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        passed = {n: v for n, v in batch.items() if not n.startswith(TEACHER)}
        outputs = model(passed, training=True, return_dict=True)
        terms = [
            self._soft(task, batch[TEACHER + task.logits], widened(outputs[task.logits]), batch)
            for task in self.head.tasks
        ]
        share = self.soft_labels.hard_share
        total = ops.stack(terms)
        taught = ops.mean(total) if self.head.reduction == "mean" else ops.sum(total)
        return ({"hard": outputs["loss"] * share} if share else {}) | {"soft": taught * (1 - share)}

    def _soft(self, task: Task, teacher: Any, student: Any, batch: Mapping[str, Any]) -> Any:
        teacher, temperature = ops.cast(teacher, student.dtype), self.soft_labels.temperature
        if task.kind == "problem" and self.problem == REGRESSION:
            return ops.sum(ops.square(teacher - student)) / counted(ops.cast(ops.size(student), student.dtype))
        if task.kind == "problem" and self.problem == MULTI_LABEL:
            t, s = (ops.reshape(ops.stack((x, ops.zeros_like(x)), axis=-1), (-1, 2)) for x in (teacher, student))
            return soft(t, s, temperature)
        if task.kind == "span":  # what is padding cannot be chosen
            hidden = batch["attention_mask"] < 1
            lowest = float(np.finfo(keras.backend.standardize_dtype(student.dtype)).min)
            t, s = (ops.log_softmax(ops.where(hidden, lowest, x / temperature), axis=-1) for x in (teacher, student))
            total = ops.sum(ops.exp(t) * ops.where(hidden, 0.0, t - s))
            return total * temperature**2 / counted(ops.cast(ops.shape(student)[0], student.dtype))
        if task.per_token:
            rows = labelled_rows(batch[task.label])
            classes = student.shape[-1]
            teacher, student = (ops.take(ops.reshape(x, (-1, classes)), rows, axis=0) for x in (teacher, student))
        return soft(teacher, student, temperature)

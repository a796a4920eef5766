"""The objective of a task with a teacher: labels of the file, and the teacher's scores that come with the batch.

B batch, S sequence, C classes. Twin: mobilebert_tf/task_distillation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.heads import IGNORE_INDEX, Head, Task
from mobilebert_core.training.soft_labels import TEACHER, SoftLabels

from .distributed import counted
from .knowledge_transfer import soft
from .wide import widened


class TaskDistillation:
    """Model and batch -> the terms "hard" and "soft" with their shares.

    The soft term is the cross-entropy with the teacher less its entropy, at a temperature and times its square; for
    several labels that of each; for numbers the squared difference.
    """

    def __init__(self, head: Head, problem: str | None, soft_labels: SoftLabels) -> None:
        self.head, self.problem, self.soft_labels = head, problem, soft_labels

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = model(**{n: v for n, v in batch.items() if not n.startswith(TEACHER)}, return_dict=True)
        terms = [
            self._soft(task, batch[TEACHER + task.logits], widened(outputs[task.logits]), batch)
            for task in self.head.tasks
        ]
        share = self.soft_labels.hard_share
        total = torch.stack(terms)
        taught = total.mean() if self.head.reduction == "mean" else total.sum()
        return ({"hard": outputs["loss"] * share} if share else {}) | {"soft": taught * (1 - share)}

    def _soft(self, task: Task, teacher: Tensor, student: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        teacher, temperature = teacher.to(student.dtype), self.soft_labels.temperature
        if task.kind == "problem" and self.problem == REGRESSION:
            return (teacher - student).square().sum() / counted(student.new_tensor(student.numel()))
        if task.kind == "problem" and self.problem == MULTI_LABEL:
            t, s = (torch.stack((x, torch.zeros_like(x)), -1).flatten(0, -2) for x in (teacher, student))
            return soft(t, s, temperature)
        if task.kind == "span":  # what is padding cannot be chosen
            hidden = batch["attention_mask"] < 1
            lowest = torch.finfo(student.dtype).min
            t, s = (torch.log_softmax((x / temperature).masked_fill(hidden, lowest), -1) for x in (teacher, student))
            total = (t.exp() * (t - s).masked_fill(hidden, 0)).sum()
            return total * temperature**2 / counted(student.new_tensor(len(student)))
        if task.per_token:
            rows = (batch[task.label].flatten() != IGNORE_INDEX).nonzero()[:, 0]
            teacher, student = teacher.flatten(0, 1)[rows], student.flatten(0, 1)[rows]
        return soft(teacher, student, temperature)

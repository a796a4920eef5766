"""The losses, by the rules of the table of heads. A batch with nothing to learn from gives 0.

B batch, S sequence, C classes. Twin: mobilebert_tf/losses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.heads import IGNORE_INDEX, Head, Task, problem_type_of
from mobilebert_core.inputs import check_labels

from .distributed import counted, several_ranks
from .inputs import PROBE, checking
from .wide import widened


def head_loss(
    config: MobileBertConfig, head: Head, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor | None]
) -> Tensor | None:
    """The scalar loss of a head, or None unless all its labels are there."""
    losses = []
    for task in head.tasks:
        passed = task.labels_in(labels)
        if passed is None:
            return None
        losses.append(task_loss(config, head, task, outputs[task.logits], passed))
    if not losses:
        return None
    total = torch.stack(losses).sum()
    return total / len(losses) if head.reduction == "mean" else total


def task_loss(config: MobileBertConfig, head: Head, task: Task, logits: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of one task, a scalar in float32 or wider."""
    problem = problem_type_of(config, task, logits.shape[-1], PROBE.is_integer(labels))
    if checking():
        check_labels(config, head, task, labels, tuple(logits.shape), PROBE)
    logits = widened(logits)
    if problem == REGRESSION:
        return _over_ranks(F.mse_loss, logits.flatten(), labels.flatten().to(logits.dtype))
    if problem == MULTI_LABEL:
        return _over_ranks(F.binary_cross_entropy_with_logits, logits, labels.view_as(logits).to(logits.dtype))
    if task.kind == "span":
        length = logits.shape[-1]
        return cross_entropy(logits, labels.reshape(logits.shape[0]).long().clamp(0, length), ignore_index=length)
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Mean cross-entropy of (rows, C) over the rows whose label is not ignored; 0 when all are."""
    labels = labels.long()
    total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
    learned = (labels != ignore_index).sum()
    return total / counted(learned.to(total.dtype) if several_ranks() else learned)


def _over_ranks(loss: Callable[..., Tensor], logits: Tensor, targets: Tensor) -> Tensor:
    if not several_ranks():
        return loss(logits, targets)
    return loss(logits, targets, reduction="sum") / counted(logits.new_tensor(logits.numel()))

"""The losses, by the rules of the table of heads. A batch with nothing to learn from gives 0.

B batch, S sequence, C classes. Twin: mobilebert_torch/losses.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.heads import IGNORE_INDEX, Head, Task, problem_type_of
from mobilebert_core.inputs import check_labels

from .distributed import counted
from .inputs import PROBE
from .policies import widened


def head_loss(
    config: MobileBertConfig,
    head: Head,
    outputs: Mapping[str, Any],
    labels: Mapping[str, Any],
    sample_weight: Any = None,
) -> Any:
    """The scalar loss of a head, or None unless all its labels are there.

    `sample_weight` (B,), or the shape of the labels, multiplies each loss before the mean; a list or mapping
    holds one for each task.
    """
    losses = []
    for index, task in enumerate(head.tasks):
        passed = task.labels_in(labels)
        if passed is None:
            return None
        weight = weight_of(task, index, sample_weight)
        losses.append(task_loss(config, head, task, outputs[task.logits], passed, weight))
    if not losses:
        return None
    total = sum(losses[1:], losses[0])
    return total / len(losses) if head.reduction == "mean" else total


def weight_names(task: Task) -> tuple[str, ...]:
    """The names that the sample weight of one task may have."""
    return task.label, *task.aliases, task.logits


def weight_of(task: Task, index: int, sample_weight: Any) -> Any:
    """The sample weight of one task, the `index`th of its head, by one of its names; None without one."""
    if isinstance(sample_weight, Mapping):
        return next((sample_weight[n] for n in weight_names(task) if sample_weight.get(n) is not None), None)
    return sample_weight[index] if isinstance(sample_weight, list | tuple) else sample_weight


def labelled_rows(labels: Any) -> Any:
    """Where, with all tokens in one axis, a label is not ignored: (N,), of a size that no graph knows beforehand."""
    return ops.nonzero(ops.not_equal(ops.reshape(labels, (-1,)), IGNORE_INDEX))[0]


def labelled_only(head: Head, labels: Mapping[str, Any], sample_weight: Any) -> tuple[dict[str, Any], Any]:
    """Labels and sample weights by label, those of words as (N,) of the tokens that have a label."""
    words = head.words
    assert words is not None  # the caller has asked
    passed = words.labels_in(labels)
    rows = labelled_rows(passed)
    labels = {**labels, words.label: ops.take(ops.reshape(passed, (-1,)), rows)}
    if sample_weight is None:
        return labels, None
    weights = {task.label: weight_of(task, i, sample_weight) for i, task in enumerate(head.tasks)}
    if (weight := weights[words.label]) is not None:
        weight = weight[:, None] if len(weight.shape) == 1 else weight  # (B, 1) or (B, S)
        tokens = ops.broadcast_to(weight, ops.shape(ops.reshape(passed, (ops.shape(passed)[0], -1))))
        weights[words.label] = ops.take(ops.reshape(tokens, (-1,)), rows)
    return labels, weights


def task_loss(
    config: MobileBertConfig, head: Head, task: Task, logits: Any, labels: Any, sample_weight: Any = None
) -> Any:
    """The mean loss of one task, a scalar in float32 or wider."""
    problem = problem_type_of(config, task, logits.shape[-1], PROBE.is_integer(labels))
    check_labels(config, head, task, labels, tuple(logits.shape), PROBE)
    logits = widened(logits)
    if problem == REGRESSION:
        errors = ops.square(ops.reshape(logits, (-1,)) - ops.cast(ops.reshape(labels, (-1,)), logits.dtype))
        return _mean(_weighted(errors, sample_weight))
    if problem == MULTI_LABEL:
        targets = ops.cast(ops.reshape(labels, ops.shape(logits)), logits.dtype)
        losses = ops.maximum(logits, 0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))  # (B, C)
        return _mean(_weighted(losses, sample_weight))
    if task.kind == "span":
        length = ops.shape(logits)[-1]
        positions = ops.clip(ops.reshape(ops.cast(labels, "int32"), (-1,)), 0, length)
        return cross_entropy(logits, positions, length, sample_weight)
    rows = ops.reshape(logits, (-1, logits.shape[-1] or ops.shape(logits)[-1]))
    if sample_weight is not None and len(sample_weight.shape) == 1 and len(logits.shape) == 3:
        sample_weight = ops.repeat(sample_weight, ops.shape(logits)[1])
    return cross_entropy(rows, ops.reshape(labels, (-1,)), IGNORE_INDEX, sample_weight)


def cross_entropy(logits: Any, labels: Any, ignore_index: Any = IGNORE_INDEX, sample_weight: Any = None) -> Any:
    """Mean cross-entropy of (rows, C) over the rows whose label is not ignored; 0 when all are."""
    labels = ops.cast(labels, "int32")
    learned = ops.cast(ops.not_equal(labels, ignore_index), logits.dtype)
    classes = ops.where(labels < 0, logits.shape[-1] or ops.shape(logits)[-1], labels)  # -1 is not the last class
    classes = ops.where(ops.equal(labels, ignore_index), 0, classes)
    picked = ops.squeeze(ops.take_along_axis(logits, classes[:, None], axis=-1), -1)
    losses = (ops.logsumexp(logits, axis=-1) - picked) * learned
    return ops.sum(_weighted(losses, sample_weight)) / counted(ops.sum(learned))


def _mean(losses: Any) -> Any:
    return ops.sum(losses) / counted(ops.cast(ops.size(losses), losses.dtype))


def _weighted(losses: Any, sample_weight: Any) -> Any:
    """Losses (rows,) or (B, C) times weights of (B,) or of their own shape."""
    if sample_weight is None:
        return losses
    weight = ops.cast(ops.convert_to_tensor(sample_weight), losses.dtype)
    if len(losses.shape) == 1:
        return losses * ops.reshape(weight, (-1,))
    return losses * (weight[:, None] if len(weight.shape) == 1 else weight)

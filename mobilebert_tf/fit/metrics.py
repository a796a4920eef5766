"""Losses and metrics as `compile` takes them, in the form in which they fit the scores of a head.

The models return logits. A loss or metric of Keras, by name, class, function or object, is computed from them as its
row in `loss_table.py` says, as is a class derived from it that does not compute by itself; what a user has written is
left as it is and gets the logits. An object is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import Head, Task

from ..serialization import serializable
from .loss_table import ALONG_SCORES, NAMES, TABLE, class_of, function_in, name_of, row_of
from .of_logits import LossOfLogits, MetricOfLogits, Scores, arranged


@serializable
class MaskedAccuracy(keras.metrics.Mean):
    """Share of labels that the largest logit meets; labels of -100 are left out.

    Labels of the shape of the logits are those of several labels a text: then it is the share of logits on the
    right side of 0.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        found = arranged(self.name, TABLE["Accuracy"], Scores("sigmoid"), y_true, y_pred, sample_weight)
        counted = ops.cast(found.counted, self.dtype)
        weight = counted if found.weight is None else counted * ops.cast(found.weight, self.dtype)
        super().update_state(ops.equal(found.labels, found.scores), sample_weight=weight)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


def losses_by_output(class_name: str, config: MobileBertConfig, head: Head, loss: Any) -> Any:
    """A loss, a list in the order of the head's outputs or a mapping by output or label, ready for Keras.

    Raises:
        ConfigError: for an output that the head has not, a name that Keras has not, a loss object made for
            probabilities, a loss that cannot be computed from the scores, and no loss at all.
    """
    if loss is None or not head.tasks:
        return loss
    tasks = {task.logits: task for task in head.tasks}
    made = {n: _loss(class_name, config, tasks[n], value) for n, value in by_output(class_name, head, loss).items()}
    if not made:
        raise ConfigError(
            f"{class_name}.compile: wanted a loss for {' or '.join(tasks)}, got an empty mapping. Leave it out for the "
            "model's own."
        )
    return next(iter(made.values())) if len(tasks) == 1 else made


def metrics_by_output(class_name: str, config: MobileBertConfig, head: Head, metrics: Any, losses: Any) -> Any:
    """Metrics as instances, since a string costs a second trace, once for each output of the head.

    `losses` are what `losses_by_output` returned: they may say what the scores mean.
    """
    if metrics is None or not head.tasks:
        return metrics
    tasks = {task.logits: task for task in head.tasks}
    by_task = losses if isinstance(losses, Mapping) else dict.fromkeys(tasks, losses)

    def made(name: str, passed: Any) -> list[Any]:
        scores = scores_of(config, tasks[name], by_task.get(name))
        return [_metric(class_name, scores, metric) for metric in _as_list(passed) if metric is not None]

    if isinstance(metrics, Mapping):
        return {name: made(name, value) for name, value in by_output(class_name, head, metrics).items()}
    listed = _as_list(metrics)
    by_list = len(listed) == len(tasks) and all(isinstance(item, list | tuple) for item in listed)  # one an output
    if len(tasks) == 1:
        return made(next(iter(tasks)), listed[0] if by_list else listed)
    if by_list:
        return {n: made(n, item) for n, item in zip(tasks, listed, strict=True)}
    return {name: made(name, [_another(class_name, metric) for metric in listed]) for name in tasks}


def by_output(class_name: str, head: Head, passed: Any) -> dict[str, Any]:
    """Values by output or label, in the order of the outputs, or once for all, by output."""
    outputs = [task.logits for task in head.tasks]
    if isinstance(passed, list | tuple):
        if len(passed) != len(outputs):
            raise ConfigError(
                f"{class_name}.compile: {len(passed)} losses or weights were passed for the outputs {outputs}."
            )
        return dict(zip(outputs, passed, strict=True))
    if not isinstance(passed, Mapping):
        return dict.fromkeys(outputs, passed)
    names = {label: task.logits for task in head.tasks for label in (task.logits, task.label, *task.aliases)}
    if unknown := [name for name in passed if name not in names]:
        raise ConfigError(
            f"{class_name}.compile: losses and metrics are for {', '.join(t.logits for t in head.tasks)}, got "
            f"{', '.join(map(repr, unknown))}."
        )
    return {names[name]: value for name, value in passed.items()}


def scores_of(config: MobileBertConfig, task: Task, loss: Any) -> Scores:
    """What the scores of a task mean: as the problem type says, else as the loss that they are trained with."""
    axis = task.classes if task.classes in ("positions", "choices") else "classes"
    row = row_of(loss.loss if isinstance(loss, LossOfLogits) else loss) if _known(loss) else None
    by_loss = None if row is None else row.activation or row.otherwise
    if task.kind != "problem":
        return Scores(by_loss or "softmax", str(axis))
    if config.problem_type in (MULTI_LABEL, SINGLE_LABEL):
        return Scores("sigmoid" if config.problem_type == MULTI_LABEL else "softmax")
    if config.problem_type == REGRESSION or config.num_labels == 1:
        axis = "one" if config.num_labels == 1 else "classes"
        return Scores("sigmoid" if by_loss == "sigmoid" else "values", axis)
    return Scores(by_loss or "labels")


def _known(part: Any) -> bool:
    return isinstance(part, LossOfLogits) or (part is not None and name_of(part) is not None)


def _loss(class_name: str, config: MobileBertConfig, task: Task, passed: Any) -> Any:
    """An object of Keras for one loss in any form; a user's own loss as it is."""
    if passed is None:
        return None
    if isinstance(passed, str) and passed.lower() in ("crossentropy", "ce"):
        passed = _crossentropy(config, task)
    loss = _got(class_name, "loss", _named(keras.losses), passed)
    name = name_of(loss)
    if name is None or not hasattr(keras.losses, name):
        return loss
    kind = getattr(keras.losses, name)
    if class_of(loss) is kind:
        options = kind.get_config(loss) if isinstance(passed, keras.losses.Loss) else {}
    else:
        _refuse(class_name, name, TABLE[name].refused)
        options = (function_in(loss) or (loss, {}))[1]
        loss = _of_function(class_name, kind, options, loss)
    if options.get("from_logits") is False:
        raise ConfigError(
            f"{class_name}.compile: the scores are logits, not probabilities; wanted "
            f"keras.losses.{name}(from_logits=True), got from_logits=False."
        )
    row = row_of(loss)
    _refuse(class_name, name, row.refused)
    scores = scores_of(config, task, loss)
    if scores.meaning == "values":
        _check_regression(class_name, name, config.num_labels == 1, "binary_crossentropy or mean_squared_error")
        return loss
    return LossOfLogits(loss, scores)


def _crossentropy(config: MobileBertConfig, task: Task) -> Any:
    """What Keras means by "crossentropy", for a task."""
    if task.kind != "problem" or config.problem_type == SINGLE_LABEL:
        return "sparse_categorical_crossentropy"
    several = config.problem_type == MULTI_LABEL or config.num_labels == 1
    return "binary_crossentropy" if several else "categorical_crossentropy"


def _metric(class_name: str, scores: Scores, passed: Any) -> Any:
    """A metric object for one metric in any form, by the name that Keras would show."""
    if isinstance(passed, str) and passed.lower() in ("accuracy", "acc"):
        if scores.meaning == "values":
            return passed  # Keras decides by the shapes
        return MetricOfLogits(keras.metrics.Accuracy(name=passed), scores)
    metric = _got(class_name, "metric", _named(keras.metrics), passed)
    if not isinstance(metric, keras.metrics.Metric) or class_of(metric) is None:
        if name := name_of(metric):
            _refuse(class_name, name, TABLE[name].refused)
        metric = _of_wrapped(metric)
    if isinstance(passed, str):
        metric.name = passed  # as Keras does
    name = name_of(metric)
    if name is None:
        return metric
    _refuse(class_name, name, row_of(metric).refused)
    if scores.axis != "classes" and name in ("F1Score", "FBetaScore"):
        _refuse(class_name, name, f"it needs a fixed number of classes, and here they are {scores.axis}. Pass accuracy")
    if scores.meaning == "values":
        _check_regression(class_name, name, scores.axis == "one", "mean_squared_error or R2Score")
        return MetricOfLogits(metric, scores) if TABLE[name].labels == "values" else metric
    return MetricOfLogits(metric, scores)


_NOT_NEGATIVE = (
    "it wants values above 0, and the scores of a regression are any numbers. Pass a function of your own that says "
    "how, e.g. of keras.ops.exp(scores)"
)
_CLASS_NUMBERS = "it takes class numbers, and a regression has values. Pass mean_squared_error"
_ONE_SCORE = "it compares the scores of one text with each other, and num_labels is 1. Pass {} instead"


def _named(kind: Any) -> Callable[[Any], Any]:
    """As `keras.losses.get` or `keras.metrics.get`, also for what Keras exports without a name there."""

    def get(passed: Any) -> Any:
        if isinstance(passed, str) and (passed in TABLE or passed in NAMES):
            found = getattr(kind, passed, None) or getattr(keras.losses, passed, None)
            return kind.get(passed if found is None else found)
        return kind.get(passed)

    return get


def _of_function(class_name: str, kind: Any, options: dict[str, Any], passed: Any) -> Any:
    """The loss of a class for its function, as a partial or a wrapper calls it."""
    wrapper = {n: getattr(passed, n) for n in ("name", "reduction", "dtype") if isinstance(passed, keras.losses.Loss)}
    try:
        return kind(**options, **wrapper)
    except TypeError as e:
        raise ConfigError(f"{class_name}.compile: {kind.__name__} does not take these options: {e}.") from e


def _of_wrapped(metric: Any) -> Any:
    """The mean of what a function or a loss gives, whatever is around it; a user's own metric as it is."""
    is_metric, found = isinstance(metric, keras.metrics.Metric), function_in(metric)
    if is_metric and found is None:
        return metric
    function, options = found or (metric, {})
    name = getattr(metric, "name", None) or getattr(function, "__name__", None)
    return keras.metrics.MeanMetricWrapper(function, name, metric.dtype if is_metric else None, **options)


def _got(class_name: str, kind: str, get: Any, passed: Any) -> Any:
    if isinstance(passed, type) and TABLE.get(name_of(passed) or "", TABLE["Accuracy"]).refused:
        name = name_of(passed) or ""
        _refuse(class_name, name, TABLE[name].refused)
    try:
        return get(passed)
    except (TypeError, ValueError) as e:
        near = get_close_matches(str(passed), [*TABLE, *NAMES], 3)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise ConfigError(f"{class_name}.compile: Keras has no {kind} {passed!r} ({e}).{hint}") from e


def _check_regression(class_name: str, name: str, one_score: bool, instead: str) -> None:
    row = TABLE[name]
    if not row.negative:
        _refuse(class_name, name, _NOT_NEGATIVE)
    if row.labels == "numbers" and row.gets != "decisions":
        _refuse(class_name, name, _CLASS_NUMBERS)
    if one_score and (row.activation == "softmax" or name in ALONG_SCORES):
        _refuse(class_name, name, _ONE_SCORE.format(instead))


def _refuse(class_name: str, name: str, why: str) -> None:
    if why:
        raise ConfigError(f"{class_name}.compile: {name} cannot be computed from these scores: {why}.")


def _another(class_name: str, metric: Any) -> Any:
    """A metric for one more output: an object is made anew, since its state is one output's."""
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    kind = class_of(metric) or type(metric)  # a class derived from it may be made otherwise
    try:
        return kind.from_config(kind.get_config(metric))
    except (TypeError, NotImplementedError) as e:
        raise ConfigError(
            f"{class_name}.compile: {type(metric).__name__} is to count for each output, and cannot be made anew from "
            f"its get_config ({e}). Pass an object for each: metrics={{output: [...], ...}}."
        ) from e


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]

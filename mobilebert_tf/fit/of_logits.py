"""Keras's losses and metrics, each given what it wants of the logits of a head, by the rows of `loss_table.py`.

B batch, S sequence, C classes, N texts or tokens (B or B * S), M cases that count (N, or N * C).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
from keras import ops

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import IGNORE_INDEX

from ..policies import widened
from ..serialization import serializable
from .loss_table import Row, class_of, row_of


@dataclass(frozen=True)
class Scores:
    """What the logits of one output mean.

    Attributes:
        meaning: "softmax" (one class), "sigmoid" (several labels), "values" (regression), or "labels" (the labels
            say: floats of the shape of the logits are several labels).
        axis: what C counts: "classes", "choices", "positions" (labels beyond the last one are left out), or "one" (C is
            1).
    """

    meaning: str
    axis: str = "classes"


@dataclass(frozen=True)
class Arranged:
    """Labels, scores and weights of M cases; `counted` is False where a label is -100."""

    labels: Any
    scores: Any
    weight: Any
    counted: Any


def arranged(what: str, row: Row, scores: Scores, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Arranged:
    """Labels and logits (..., C) in the form that a row of the table wants.

    `y_true` are class numbers (...), or of the shape of the logits; `sample_weight` is (B,), or of either shape.

    Raises:
        InputError: for labels of a form that `what` cannot be computed from.
    """
    logits, labels = widened(ops.convert_to_tensor(y_pred)), ops.convert_to_tensor(y_true)
    classes = logits.shape[-1]
    numbers = are_class_numbers(labels.shape, logits.shape)
    _check_form(what, row, labels, logits, numbers)
    meaning = _meaning(row, scores, labels, numbers)
    weight = _by_row(sample_weight, logits)
    count = ops.shape(logits)[-1] if classes is None else classes
    rows = ops.reshape(logits, (-1, count))  # (N, C)
    if not numbers:
        full = ops.reshape(ops.cast(labels, rows.dtype), ops.shape(rows))
        return _of_full(row, meaning, full, rows, weight)
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")  # (N,)
    counted = ops.not_equal(labels, IGNORE_INDEX)
    if scores.axis == "positions":
        counted = ops.logical_and(counted, labels < count)
        labels = ops.maximum(labels, 0)
    labels = ops.where(counted, labels, 0)
    if row.gets == "decisions":
        labels = ops.one_hot(labels, count) if row.labels == "one-hot" else labels
        return Arranged(labels, ops.argmax(rows, axis=-1), weight, counted)
    if row.form == "elements" and classes == 2 and scores.axis == "classes":
        positive = rows[:, 1:] - rows[:, :1]  # its sigmoid is the softmax of the second class
        labels, counted = _encoded(labels, 2, rows.dtype)[:, 1:], counted[:, None]
        return Arranged(
            labels, _activated(row, "sigmoid", positive), None if weight is None else weight[:, None], counted
        )
    if row.labels == "one-hot":
        labels = _encoded(labels, count, rows.dtype)
        if row.form == "elements":
            return _flat(
                labels, _activated(row, meaning, rows), weight, ops.broadcast_to(counted[:, None], ops.shape(rows))
            )
    return Arranged(labels, _activated(row, meaning, rows), weight, counted)


def are_class_numbers(labels: Any, logits: Any) -> bool:
    """Whether labels of a shape are numbers of classes, for logits (..., C) of a shape."""
    classes = logits[-1]
    fewer = len(labels) < len(logits) and classes != 1
    return fewer or (len(labels) == len(logits) and labels[-1] == 1 != classes)


def _encoded(labels: Any, count: Any, dtype: Any) -> Any:
    """Class numbers (N,) one-hot, (N, C); NaN for what is no class, which would else count as none of them."""
    known = ops.logical_and(labels >= 0, labels < count)[:, None]
    return ops.where(known, ops.one_hot(labels, count, dtype=dtype), float("nan"))


def _check_form(what: str, row: Row, labels: Any, logits: Any, numbers: bool) -> None:
    shapes = f"labels {tuple(labels.shape)} for scores {tuple(logits.shape)}"
    if numbers and row.labels == "values":
        raise InputError(
            f"{what}: wanted labels of the shape of the scores, got class numbers ({shapes}). Pass "
            "sparse_categorical_crossentropy as a loss, accuracy as a metric, or one-hot labels."
        )
    if numbers:
        passed, wanted = tuple(labels.shape[: len(logits.shape) - 1]), tuple(logits.shape[:-1])
        same = [None in pair or pair[0] == pair[1] for pair in zip(passed, wanted, strict=False)]
        if len(passed) == len(wanted) and not all(same):
            raise InputError(f"{what}: wanted labels for the rows of the scores, got {shapes}.")
        return
    if row.labels == "numbers" and row.gets != "decisions":
        raise InputError(
            f"{what}: wanted class numbers, got labels of the shape of the scores ({shapes}). Pass the categorical or "
            "the binary one of its kind."
        )
    sizes = [(a, b) for a, b in zip(labels.shape, logits.shape, strict=False) if None not in (a, b)]
    if any(a != b for a, b in sizes):
        raise InputError(f"{what}: wanted labels of the shape of the scores, got {shapes}.")


def _meaning(row: Row, scores: Scores, labels: Any, numbers: bool) -> str:
    """ "softmax", "sigmoid" or "values"."""
    if row.activation is not None:
        return row.activation
    if scores.meaning != "labels":
        return scores.meaning
    if numbers or row.otherwise is not None:
        return row.otherwise or "softmax"
    return "sigmoid" if "float" in keras.backend.standardize_dtype(labels.dtype) else "softmax"


def _of_full(row: Row, meaning: str, labels: Any, rows: Any, weight: Any) -> Arranged:
    """Labels of the shape of the scores, both (N, C)."""
    counted = ops.ones_like(labels, dtype="bool")
    if meaning != "values":
        counted = ops.not_equal(labels, IGNORE_INDEX)
        labels = ops.where(counted, labels, ops.zeros_like(labels))
    if row.gets == "decisions" and meaning != "sigmoid":
        found, numbers = ops.argmax(rows, axis=-1), ops.argmax(labels, axis=-1)
        return Arranged(numbers, found, weight, ops.all(counted, axis=-1))
    given = ops.cast(rows > 0, "int32") if row.gets == "decisions" else _activated(row, meaning, rows)
    if row.form == "elements":
        return _flat(ops.cast(labels, given.dtype), given, weight, counted)
    if weight is not None and len(weight.shape) == 2:
        raise InputError("sample_weight has the shape of the scores, wanted one weight for each text or token.")
    return Arranged(labels, given, weight, ops.all(counted, axis=-1))


def _activated(row: Row, meaning: str, rows: Any) -> Any:
    if row.gets != "probabilities" or meaning == "values":
        return rows
    return ops.sigmoid(rows) if meaning == "sigmoid" else ops.softmax(rows, axis=-1)


def _flat(labels: Any, scores: Any, weight: Any, counted: Any) -> Arranged:
    """Every score of (N, C) as a case of its own: (M, 1)."""
    if weight is not None:
        weight = weight if len(weight.shape) == 2 else weight[:, None]
        weight = ops.reshape(ops.broadcast_to(weight, ops.shape(scores)), (-1, 1))
    labels, scores, counted = (ops.reshape(array, (-1, 1)) for array in (labels, scores, counted))
    return Arranged(labels, scores, weight, counted)


def _by_row(sample_weight: Any, logits: Any) -> Any:
    """Weights of (B,), (B, 1), (B, S) or the shape of the logits as (N,) or (N, C)."""
    if sample_weight is None:
        return None
    weight = ops.cast(ops.convert_to_tensor(sample_weight), logits.dtype)
    rank = len(logits.shape)
    if len(weight.shape) == rank:
        if weight.shape[-1] != 1:
            return ops.reshape(weight, (-1, ops.shape(logits)[-1]))
        weight = ops.squeeze(weight, -1)
    weight = ops.reshape(weight, (*ops.shape(weight), *(1,) * (rank - 1 - len(weight.shape))))
    return ops.reshape(ops.broadcast_to(weight, ops.shape(logits)[:-1]), (-1,))


@serializable
class LossOfLogits(keras.losses.Loss):
    """A loss of Keras computed from logits.

    Args:
        loss: the loss of Keras. It is not changed.
        scores: what the logits mean.
    """

    def __init__(self, loss: Any, scores: Any, name: str | None = None) -> None:
        super().__init__(name=name or loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self.scores = scores if isinstance(scores, Scores) else Scores(**scores)
        self.loss, self.ignore_class = loss, None
        kind = class_of(loss)  # a class derived from it may be made otherwise
        config = kind.get_config(loss)
        if "from_logits" in config:
            self.ignore_class = config.get("ignore_class")
            apart = {"ignore_class": None} if "ignore_class" in config else {}
            self.loss = kind.from_config({**config, "from_logits": True, **apart})
        self.row = row_of(loss)
        if self.row.form == "elements" and self.reduction in (None, "none"):
            self.row = replace(self.row, form="rows")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self._check_decided(y_true, y_pred)
        found = arranged(self.name, self.row, self.scores, y_true, y_pred, sample_weight)
        labels, counted, weight = found.labels, found.counted, found.weight
        if self.row.form == "whole":
            kept = ops.cast(counted, found.scores.dtype)[:, None]
            return super().__call__(ops.cast(labels, kept.dtype) * kept, found.scores * kept, weight)
        if self.ignore_class is not None:
            counted = ops.logical_and(counted, ops.not_equal(labels, self.ignore_class))
        kept = ops.cast(ops.reshape(counted, (-1,)), found.scores.dtype)  # (M,)
        if self.reduction in ("mean", "sum_over_batch_size"):  # the mean is over what counts
            kept = kept * ops.divide_no_nan(ops.cast(ops.size(kept), kept.dtype), ops.sum(kept))
        elif self.reduction == "sum" and self.row.form == "elements":  # Keras adds up the means of rows
            cases = ops.cast(ops.size(kept), kept.dtype)
            kept = kept * ops.cast(ops.prod(ops.shape(y_pred)[:-1]), kept.dtype) / cases
        return super().__call__(labels, found.scores, kept if weight is None else ops.reshape(weight, (-1,)) * kept)

    def _check_decided(self, y_true: Any, y_pred: Any) -> None:
        """Raises where sigmoid and softmax would both be a guess."""
        by_problem = self.row.gets == "probabilities" and self.row.activation is self.row.otherwise is None
        if by_problem and self.scores.meaning == "labels" and len(y_true.shape) == len(y_pred.shape):
            raise ConfigError(
                f"{self.name}: wanted to know whether the scores are of one class or of several labels, got no "
                "problem_type. Set config.problem_type to 'single_label_classification' (softmax) or "
                "'multi_label_classification' (sigmoid) before compile()."
            )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "scores": asdict(self.scores), "name": self.name, "ignore_class": self.ignore_class}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        loss = keras.saving.deserialize_keras_object(config["loss"])
        made = cls(loss, config["scores"], config["name"])
        made.ignore_class = config["ignore_class"]
        return made


@serializable
class MetricOfLogits(keras.metrics.Metric):
    """A metric of Keras computed from logits.

    Args:
        metric: the metric of Keras, whose state this one has. One with an option `from_logits` is made anew.
        scores: what the logits mean.
    """

    def __init__(self, metric: Any, scores: Any, name: str | None = None) -> None:
        super().__init__(name=name or metric.name, dtype=metric.dtype)
        self.scores = scores if isinstance(scores, Scores) else Scores(**scores)
        self.row = row_of(metric)
        kind = class_of(metric) or type(metric)  # a class derived from it may be made otherwise
        config, wanted = kind.get_config(metric), self.row.gets == "logits"
        if type(metric) is keras.metrics.MeanMetricWrapper and wanted:
            metric = keras.metrics.MeanMetricWrapper(
                metric._fn, metric.name, metric.dtype, **{**metric._fn_kwargs, "from_logits": True}
            )
        elif config.get("from_logits", wanted) != wanted:
            metric = kind.from_config({**config, "from_logits": wanted})
        self.metric = metric
        if hasattr(metric, "_direction"):  # callbacks read whether more is better
            self._direction = metric._direction

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        found = arranged(self.name, self.row, self.scores, y_true, y_pred, sample_weight)
        kept = ops.cast(found.counted, self.dtype)
        if self.row.form == "whole":  # one number for a batch, and the mean of those
            if sample_weight is not None:
                raise InputError(
                    f"{self.name}: it is one number for a whole batch, which has no sample_weight. Pass it among "
                    "`metrics`, not `weighted_metrics`, or with axis=-1."
                )
            kept = ops.cast(kept, found.scores.dtype)[:, None]
            self.metric.update_state(ops.cast(found.labels, kept.dtype) * kept, found.scores * kept)
            return
        weight = kept if found.weight is None else found.weight * ops.cast(found.counted, found.weight.dtype)
        self.metric.update_state(found.labels, found.scores, sample_weight=weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        metric = keras.saving.serialize_keras_object(self.metric)
        return {"metric": metric, "scores": asdict(self.scores), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(keras.saving.deserialize_keras_object(config["metric"]), config["scores"], config["name"])

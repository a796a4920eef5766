"""Losses and metrics as `compile` takes them, in the form in which they fit the scores of a head.

The models return logits, and a loss passed by name is created for logits. A loss built for probabilities is rejected,
because the models return logits; training would silently fail to converge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import IGNORE_INDEX, Head

# What Keras computes from probabilities by default, by the names of its functions and classes.
_FROM_LOGITS = {
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
}


@keras.saving.register_keras_serializable(package="mobilebert")
class MaskedAccuracy(keras.metrics.Mean):
    """Share of labels that the largest logit meets; labels of -100 are left out.

    Labels of the shape of the logits are those of several labels a text: then it is the share of logits on the
    right side of 0.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] != 1:
            right = ops.equal(ops.cast(y_true, "float32") > 0.5, y_pred > 0)
            super().update_state(ops.mean(ops.cast(right, "float32"), axis=-1), sample_weight=sample_weight)
            return
        found = ops.argmax(y_pred, axis=-1)
        labels = ops.reshape(ops.cast(y_true, found.dtype), ops.shape(found))
        counted = ops.cast(ops.not_equal(labels, IGNORE_INDEX), "float32")
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            missing = len(counted.shape) - len(weight.shape)
            counted = counted * ops.reshape(weight, (*ops.shape(weight), *(1,) * missing))
        super().update_state(ops.equal(found, labels), sample_weight=counted)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


def losses_by_output(class_name: str, head: Head, loss: Any) -> Any:
    """A loss, a list in the order of the head's outputs or a mapping by output or label, ready for Keras.

    Raises:
        ConfigError: for an output that the head has not, and for a Keras loss that wants probabilities.
    """
    if loss is None or not head.tasks:
        return loss
    loss = {name: _for_logits(class_name, value) for name, value in by_output(class_name, head, loss).items()}
    return next(iter(loss.values())) if len(head.tasks) == 1 else loss


def metrics_by_output(class_name: str, head: Head, metrics: Any) -> Any:
    """Metrics as instances, since a string costs a second trace, once for each output of the head."""
    logits = [task.logits for task in head.tasks]
    if metrics is None or not logits:
        return metrics
    if isinstance(metrics, Mapping):
        return {
            name: [_metric(m) for m in _as_list(value)] for name, value in by_output(class_name, head, metrics).items()
        }
    listed = _as_list(metrics)
    if len(logits) == 1:
        return [_metric(m) for m in listed]
    if all(isinstance(item, list | tuple) for item in listed) and len(listed) == len(logits):  # one list an output
        return {n: [_metric(m) for m in item] for n, item in zip(logits, listed, strict=True)}
    made = [_metric(m) for m in listed]
    return {name: [m.__class__.from_config(m.get_config()) for m in made] for name in logits}


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


def _for_logits(class_name: str, loss: Any) -> Any:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    ours = _FROM_LOGITS.get(name, name if name in _FROM_LOGITS.values() else None)
    if ours is not None and (isinstance(loss, str) or (loss is keras.losses.get(name) or isinstance(loss, type))):
        extra = {"ignore_class": IGNORE_INDEX} if ours == "SparseCategoricalCrossentropy" else {}
        return getattr(keras.losses, ours)(from_logits=True, **extra)
    of_keras = type(loss).__name__ in _FROM_LOGITS.values() and type(loss).__module__.startswith("keras.")
    if of_keras and not loss.get_config().get("from_logits", True):
        raise ConfigError(
            f"{class_name}.compile: the scores are logits, not probabilities; wanted "
            f"keras.losses.{type(loss).__name__}(from_logits=True), got from_logits=False."
        )
    return loss


def _metric(metric: Any) -> Any:
    if isinstance(metric, str) and metric in ("accuracy", "acc"):
        return MaskedAccuracy(metric)
    if isinstance(metric, str) and metric in _FROM_LOGITS:
        return getattr(keras.metrics, _FROM_LOGITS[metric])(name=metric, from_logits=True)
    metric = keras.metrics.get(metric)
    if isinstance(metric, keras.metrics.Metric):
        return metric
    return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", None))


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]

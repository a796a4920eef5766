"""Which labels a loss can learn from: checked where values can be read, and by an assertion in TensorFlow's graphs.

A target of NaN, or a number of a class that is not there, would make the loss NaN, and with it every weight.

B batch, S sequence, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.heads import IGNORE_INDEX, Task, problem_type_of, takes_class_numbers
from mobilebert_core.inputs import FINITE, Limits, check_target_values, check_weights_fit, target_limits

from ..inputs import PROBE
from ..losses import weight_names, weight_of
from .loss_table import name_of, row_of
from .of_logits import LossOfLogits, are_class_numbers

_IGNORED = f", or be {IGNORE_INDEX} where nothing is to be learned"
_FAILED = "assertion failed: ["


def limits_of(model: Any, task: Task, labels: Any, scores: tuple[Any, ...]) -> Limits | None:
    """The limits of one task's labels, for scores of a shape; None where the loss is a user's own and decides."""
    if model._compile_loss is None:
        problem = problem_type_of(model.config, task, scores[-1], PROBE.is_integer(labels))
        return None if takes_class_numbers(problem) else target_limits(problem)  # the look-up of a class says so
    loss = model.loss.get(task.logits) if isinstance(model.loss, Mapping) else model.loss
    if not isinstance(loss, LossOfLogits):
        return FINITE if loss is not None and name_of(loss) is not None else None
    classes = scores[-1]
    if are_class_numbers(tuple(labels.shape), tuple(scores)):
        if task.kind == "span":
            return Limits("whole numbers, the places of tokens", FINITE.todo, ignored=True, whole=True)
        high = np.inf if classes is None else classes - 1
        return Limits(f"whole numbers of classes in 0..{high:g}{_IGNORED}", FINITE.todo, 0, high, True, True)
    low, high = row_of(loss.loss).targets
    ignored = loss.scores.meaning != "values"
    if np.isfinite(high):
        wanted = f"numbers from {low:g} to {high:g}{_IGNORED}, for {loss.loss.name}"
    elif np.isfinite(low):
        wanted = f"finite numbers of at least {low:g}{_IGNORED}, for {loss.loss.name}"
    else:
        wanted = FINITE.wanted + (_IGNORED if ignored else "")
    return Limits(wanted, FINITE.todo, low, high, ignored)


def check_weights(model: Any, sample_weight: Any) -> None:
    """Raises InputError for sample weights of no task, or that are not finite, where their values can be read."""
    tasks = model.head.tasks
    strange: list[Any] = []
    if tasks and isinstance(sample_weight, Mapping):
        strange = [name for name in sample_weight if not any(name in weight_names(task) for task in tasks)]
    elif tasks and isinstance(sample_weight, list | tuple) and any(hasattr(item, "shape") for item in sample_weight):
        strange = [] if len(sample_weight) == len(tasks) else [f"{len(sample_weight)} arrays"]
    if strange:
        wanted = [task.label for task in tasks]
        raise InputError(f"{type(model).__name__}: sample_weight has {strange}, wanted weights for {wanted}.")
    for weight in keras.tree.flatten(sample_weight):
        bounds = PROBE.bounds(weight) if hasattr(weight, "shape") and "bool" not in str(weight.dtype) else None
        if bounds is not None and not np.isfinite(bounds).all():
            raise InputError(
                f"{type(model).__name__}: sample_weight must be finite numbers, got values from {bounds[0]:g} to "
                f"{bounds[1]:g}. Weigh what is to be left out by 0."
            )


def check_weight_shapes(
    model: Any, labels: Mapping[str, Any], scores: Mapping[str, tuple[Any, ...]], sample_weight: Any
) -> None:
    """Raises InputError for sample weights of a shape that the model's losses or Keras's do not take.

    Args:
        scores: the shapes of the scores by name. What a user's own loss takes is not known.
    """
    if sample_weight is None:
        return
    for index, task in enumerate(model.head.tasks):
        weight, passed = weight_of(task, index, sample_weight), task.labels_in(labels)
        loss = model.loss.get(task.logits) if isinstance(model.loss, Mapping) else model.loss
        if loss is not None and not isinstance(loss, LossOfLogits):
            continue
        if hasattr(weight, "shape") and hasattr(passed, "shape"):
            try:
                shapes = PROBE.shape(weight), PROBE.shape(passed)
            except ValueError:  # a graph may know neither sizes nor rank
                continue
            check_weights_fit(model.head, task, *shapes, scores[task.logits])


def checked_labels(model: Any, labels: Mapping[str, Any], outputs: Any, sample_weight: Any) -> dict[str, Any]:
    """The labels of one batch, of which a graph of TensorFlow first asserts that the loss can learn from them.

    Updates wait for the assertion, so that a batch that fails changes no weight. Graphs compiled by XLA leave it out.

    Raises:
        InputError: where values can be read.
    """
    check_weights(model, sample_weight)
    scores = {task.logits: tuple(outputs[task.logits].shape) for task in model.head.tasks if task.logits in outputs}
    if len(scores) == len(model.head.tasks):
        check_weight_shapes(model, labels, scores, sample_weight)
    name = type(model).__name__
    asserted = [
        _assertion(f"{name}: sample_weight must be finite numbers.", weight, FINITE)
        for weight in keras.tree.flatten(sample_weight)
        if weight is not None
    ]
    for task in model.head.tasks:
        passed = task.labels_in(labels)
        if passed is None or not hasattr(passed, "shape"):
            continue
        limits = limits_of(model, task, passed, tuple(outputs[task.logits].shape))
        if limits is not None:
            check_target_values(model.head, task, passed, limits, PROBE)
            asserted.append(_assertion(f"{name}: {task.label} must be {limits.wanted}. {limits.todo}", passed, limits))
    waited_for = [each for each in asserted if each is not None]
    if not waited_for:
        return dict(labels)
    import tensorflow as tf

    with tf.control_dependencies(waited_for):
        return {label: value if value is None else tf.identity(value) for label, value in labels.items()}


def failed_assertion(model: Any, error: BaseException) -> str | None:
    """What an assertion of `checked_labels` said, from the error that TensorFlow raises while a graph runs."""
    _, found, rest = str(error).partition(f"{_FAILED}{type(model).__name__}: ")
    return rest.partition("]")[0] if found else None


def _assertion(message: str, values: Any, limits: Limits) -> Any:
    """The operation that fails where values are outside their limits; None where there need be none."""
    kind = keras.backend.standardize_dtype(values.dtype)
    if keras.backend.backend() != "tensorflow" or type(values).__name__ == "KerasTensor" or kind == "bool":
        return None
    import tensorflow as tf

    if tf.executing_eagerly():
        return None  # the values have been read
    values = tf.convert_to_tensor(values)
    if values.dtype.is_integer:
        values = tf.cast(values, tf.int64)
        low, high = max(limits.low, -(2.0**62)), min(limits.high, 2.0**62)
        good = tf.logical_and(values >= int(low), values <= int(high))
    else:
        values = tf.cast(values, tf.float32)
        good = tf.logical_and(tf.math.is_finite(values), tf.logical_and(values >= limits.low, values <= limits.high))
        if limits.whole:
            good = tf.logical_and(good, tf.equal(values, tf.round(values)))
    if limits.ignored:
        good = tf.logical_or(good, tf.equal(values, tf.cast(IGNORE_INDEX, values.dtype)))
    return tf.debugging.Assert(tf.reduce_all(good), [message])

"""What `fit`, `evaluate` and the calls on one batch take, checked and brought to one form before Keras sees it.

Labels among the inputs become y, because Keras drops sample weights where it sees no y, and class weights become
sample weights, because Keras takes labels of (B, S) for one-hot. Arrays are checked by value; of a `tf.data.Dataset`
its specification is checked; what it, generators and `keras.utils.PyDataset` give is looked at batch by batch
(`compiled.py`).

B batch, S sequence, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mobilebert_core.configuration.fields import MULTI_LABEL
from mobilebert_core.errors import InputError
from mobilebert_core.heads import Task, problem_type_of, scores_shape, takes_class_numbers
from mobilebert_core.inputs import check_labels, check_target_values

from ..inputs import PROBE
from ..losses import weight_names, weight_of
from .of_logits import LossOfLogits
from .targets import check_weight_shapes, check_weights, limits_of

Prepared = tuple[Any, Any, Any]  # x, y, sample weights

_FRAMEWORKS = ("numpy", "tensorflow", "torch", "jax", "jaxlib", "keras")


def prepared(model: Any, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None) -> Prepared:
    """The data of one call: arrays as a dict of inputs by name and labels apart; a dataset in the same form.

    Raises:
        InputError: for what the model cannot read or learn from.
    """
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        return _prepared_dataset(model, x, class_weight), y, sample_weight
    if not isinstance(x, Mapping | list | tuple) and not hasattr(x, "__array__"):
        return x, y, sample_weight
    _check_dense(model, labels=y, sample_weight=sample_weight)
    x, y, sample_weight = (_in_memory(data) for data in (x, y, sample_weight))
    x = model._checked((x,), {})
    if y is None:
        x, y = _split(model, x)
    y = _single(model, _label_arrays(model, y))
    check_targets(model, x, y)
    check_weights(model, sample_weight)
    sample_weight = _weights_like(model, y, sample_weight)
    _check_weight_shapes(model, x, y, sample_weight)
    if class_weight is not None:
        if sample_weight is not None:
            raise InputError(f"{type(model).__name__}: wanted class_weight or sample_weight, got both.")
        labels = _class_numbers(model, x, y, class_weight)
        sample_weight = np.ones(np.shape(labels), np.float32)
        for number, weight in class_weight.items():
            sample_weight[np.asarray(labels) == number] = weight
    return x, y, sample_weight


def remaining_class_weight(model: Any, x: Any, class_weight: Any) -> Any:
    """The class weights that are left to Keras: those of generators, where labels are one number a text."""
    if class_weight is None or hasattr(x, "element_spec") or hasattr(x, "__array__"):
        return None
    if isinstance(x, Mapping | list | tuple):
        return None
    head = model.head
    if len(head.tasks) != 1 or not head.pooled:
        raise InputError(
            f"{type(model).__name__}: class_weight works on arrays and on tf.data.Dataset; from {type(x).__name__} "
            "give sample weights with each batch."
        )
    return class_weight


def check_targets(model: Any, x: Mapping[str, Any], y: Any) -> None:
    """Labels against the scores that the inputs will have, for a loss of Keras if it is one; a user's loss decides."""
    if not model.head.tasks or (y is None and model._compile_loss is not None):
        return
    labels = model._labels(x, y)
    shape = tuple(x.get("input_ids", x.get("inputs_embeds")).shape)
    for task in model.head.tasks:
        passed = task.labels_in(labels)
        if passed is None:
            continue
        scores = scores_shape(model.config, task, shape[:3] if model.head.per_choice else shape[:2])
        if model._compile_loss is None or _class_numbers_of_keras(model, task, passed, scores):
            check_labels(model.config, model.head, task, passed, scores, PROBE)
        elif (limits := limits_of(model, task, passed, scores)) is not None:
            check_target_values(model.head, task, passed, limits, PROBE)


def _check_weight_shapes(model: Any, x: Mapping[str, Any], y: Any, sample_weight: Any) -> None:
    if sample_weight is None or not model.head.tasks:
        return
    shape = tuple(x.get("input_ids", x.get("inputs_embeds")).shape)[: 3 if model.head.per_choice else 2]
    scores = {task.logits: scores_shape(model.config, task, shape) for task in model.head.tasks}
    check_weight_shapes(model, model._labels(x, y), scores, sample_weight)


def _class_numbers_of_keras(model: Any, task: Task, labels: Any, scores: tuple[Any, ...]) -> bool:
    """True where a loss of Keras compares class numbers with the scores."""
    loss = model.loss.get(task.logits) if isinstance(model.loss, Mapping) else model.loss
    several = problem_type_of(model.config, task, scores[-1], True) == MULTI_LABEL
    fewer = len(labels.shape) < len(scores) or labels.shape[-1] == 1 != scores[-1]
    return isinstance(loss, LossOfLogits) and not several and fewer and scores[-1] != 1 and PROBE.is_integer(labels)


def _check_dense(model: Any, **parts: Any) -> None:
    """Raises InputError for labels or weights that are no arrays, such as sparse matrices and ragged lists."""
    for name, data in parts.items():
        several = isinstance(data, Mapping) or any(hasattr(item, "shape") for item in _as_items(data))
        for item in data.values() if isinstance(data, Mapping) else _as_items(data) if several else [data]:
            kind = type(item).__name__
            if hasattr(item, "shape") and (not hasattr(item, "__array__") or kind in ("RaggedTensor", "SparseTensor")):
                raise InputError(
                    f"{type(model).__name__}: {name} must be a dense array of numbers, got a {kind}. Its "
                    "toarray() or to_tensor(), or tf.sparse.to_dense of it, is one."
                )
            if isinstance(item, list):
                try:
                    np.asarray(item)
                except ValueError as e:
                    raise InputError(
                        f"{type(model).__name__}: {name} must be an array, got a list that makes none: its lists have "
                        "different lengths. Pad them, labels by -100."
                    ) from e


def _as_items(data: Any) -> Any:
    return data if isinstance(data, list | tuple) else ()


def _in_memory(data: Any) -> Any:
    """Arrays of libraries that compute nothing as NumPy's, whose values can be read. Keras would make them later."""
    if isinstance(data, Mapping):
        return {name: _in_memory(value) for name, value in data.items()}
    if isinstance(data, list | tuple) and any(hasattr(item, "shape") for item in data):
        return [_in_memory(item) for item in data]
    foreign = type(data).__module__.partition(".")[0] not in _FRAMEWORKS
    return np.asarray(data) if foreign and hasattr(data, "__array__") and hasattr(data, "dtype") else data


def _split(model: Any, x: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Inputs and labels apart; None when there are no labels."""
    names = model.head.label_names
    labels = {name: value for name, value in x.items() if name in names and value is not None}
    return {name: value for name, value in x.items() if name not in names}, labels or None


def _single(model: Any, y: Any) -> Any:
    """The labels of a head with one task as they are, without their name."""
    if not isinstance(y, Mapping) or len(model.head.tasks) != 1:
        return y
    passed = model.head.tasks[0].labels_in(model._labels(None, y))
    return y if passed is None else passed


def _label_arrays(model: Any, y: Any) -> Any:
    """Lists of numbers made arrays, one for each task."""
    if isinstance(y, Mapping):
        return {name: np.asarray(value) if isinstance(value, list) else value for name, value in y.items()}
    if isinstance(y, list | tuple) and len(model.head.tasks) > 1:
        return tuple(np.asarray(value) if isinstance(value, list) else value for value in y)
    return np.asarray(y) if isinstance(y, list) and not any(hasattr(item, "shape") for item in y) else y


def _weights_like(model: Any, y: Any, sample_weight: Any) -> Any:
    """Sample weights in the form of the labels, as Keras wants them: one array, or one for each task.

    A task without weights among those of others has weights of 1.
    """
    tasks = model.head.tasks
    if isinstance(sample_weight, list) and not any(hasattr(item, "shape") for item in sample_weight):
        return np.asarray(sample_weight)
    if not tasks or not isinstance(sample_weight, Mapping | list | tuple):
        return sample_weight
    weights = [weight_of(task, i, sample_weight) for i, task in enumerate(tasks)]
    if len(tasks) == 1 or y is None:
        return weights[0] if len(tasks) == 1 else sample_weight
    labels = model._labels(None, y)
    weights = [
        np.ones(np.shape(task.labels_in(labels))[:1], np.float32) if weight is None else weight
        for task, weight in zip(tasks, weights, strict=True)
    ]
    if not isinstance(y, Mapping):
        return tuple(weights)
    return {name: next(w for task, w in zip(tasks, weights, strict=True) if name in weight_names(task)) for name in y}


def _prepared_dataset(model: Any, dataset: Any, class_weight: Any) -> Any:
    element = dataset.element_spec
    parts = element if isinstance(element, tuple) else (element,)
    if len(parts) > 3:
        raise InputError(
            f"{type(model).__name__}: an element of the dataset is a tuple of {len(parts)}, wanted x, (x, y) or "
            "(x, y, sample_weight). Several inputs go into a dict or an inner tuple."
        )
    x, y = (_outline(model, part) for part in (*parts, None)[:2])
    if any(item is None for item in keras.tree.flatten(x)):
        raise InputError(
            f"{type(model).__name__}: the dataset does not know the rank of its inputs ({parts[0]}). Tell it by "
            "tf.ensure_shape in dataset.map, or by output_signature."
        )
    ids = next((item for item in keras.tree.flatten(x) if "int" in str(item.dtype)), None)
    if ids is not None and len(ids.shape) == (2 if model.head.per_choice else 1):
        raise InputError(
            f"{type(model).__name__}: an element of the dataset has ids of shape {ids.shape}, wanted a batch of them. "
            "Pass dataset.batch(batch_size)."
        )
    named = model._checked((x,), {})
    apart = y is None and isinstance(x, Mapping) and _split(model, x)[1] is not None
    _, y = _split(model, named) if apart else (named, y)
    y = _single(model, y)
    check_targets(model, named, y)
    _check_weight_shapes(model, named, y, _outline(model, parts[2]) if len(parts) == 3 else None)
    if class_weight is not None:
        if len(parts) == 3:
            raise InputError(f"{type(model).__name__}: wanted class_weight or sample weights in the dataset, got both.")
        _class_numbers(model, named, y, class_weight)
    if not apart and class_weight is None:
        return dataset

    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def arranged(*parts: Any) -> Any:
        x, y = _split(model, parts[0]) if apart else parts[:2]
        y = _single(model, y)
        if class_weight is None:
            return (x, y, *parts[2:])
        weights = tf.ones(tf.shape(y), tf.float32)
        for number, weight in class_weight.items():
            weights = tf.where(tf.equal(y, tf.cast(number, y.dtype)), tf.cast(weight, tf.float32), weights)
        return x, y, weights

    return dataset.map(arranged)


def _outline(model: Any, spec: Any) -> Any:
    """A part of a dataset's specification as arrays without values, which the checks can read."""

    def outline(found: Any) -> Any:
        kind = type(found).__name__
        if kind != "TensorSpec":
            if kind in ("RaggedTensorSpec", "SparseTensorSpec"):
                raise InputError(
                    f"{type(model).__name__}: the dataset holds a {kind.removesuffix('Spec')}, wanted padded arrays. "
                    "Pad with dataset.map or padded_batch."
                )
            return None
        if found.shape.rank is None:
            return None
        return keras.KerasTensor(tuple(found.shape), dtype=found.dtype.name)

    return keras.tree.map_structure(outline, spec)


def _class_numbers(model: Any, x: Mapping[str, Any], y: Any, class_weight: Any) -> Any:
    """The labels that class weights are looked up for, when the head has such."""
    head = model.head
    name = type(model).__name__
    if not isinstance(class_weight, Mapping):
        raise InputError(f"{name}: class_weight must be a dict of weights by class, got {type(class_weight).__name__}.")
    task = head.tasks[0] if len(head.tasks) == 1 else None
    labels = None if task is None else task.labels_in(model._labels(x, y))
    problem = classes = None
    if task is not None and labels is not None:
        shape = tuple(x.get("input_ids", x.get("inputs_embeds")).shape)
        classes = scores_shape(model.config, task, shape)[-1]
        problem = problem_type_of(model.config, task, classes, PROBE.is_integer(labels))
    if task is None or classes is None or not takes_class_numbers(problem):
        why = f"labels of {problem}" if problem else f"{len(head.tasks)} outputs" if task is None else "no labels"
        raise InputError(
            f"{name}: class_weight is for one output whose labels are class numbers, got {why}. Pass sample_weight."
        )
    if strange := [number for number in class_weight if number not in range(classes)]:
        raise InputError(f"{name}: class_weight has {strange}, wanted classes in 0..{classes - 1}.")
    if not np.isfinite(np.asarray(list(class_weight.values()), np.float64)).all():
        raise InputError(f"{name}: class_weight must hold finite numbers, got {dict(class_weight)}.")
    return labels

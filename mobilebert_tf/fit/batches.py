"""Batches that come one by one, each checked once, where it comes from: before TensorFlow makes tensors of it.

Keras on TensorFlow takes names, ranks and, where they agree, sizes of the first two batches for those of all.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter  # Keras exports PyDataset only
from keras.src.trainers.data_adapters.torch_data_loader_adapter import TorchDataLoaderAdapter

from mobilebert_core.errors import InputError

Check = Callable[[Any], Any]  # takes a batch and returns it, or raises
Note = Callable[[Exception], None]


def checked_where_they_come_from(
    name: str, x: Any, check: Check, note: Note, shuffle: bool, class_weight: Any, in_graphs: bool
) -> Any:
    """The data of one call of a TensorFlow model's `fit`, whose batches are checked; None for other kinds of data.

    Args:
        name: of the model's class.
        x: what gives batches, with labels and weights in each of them.
        note: called with what `check` raises, of which TensorFlow leaves the text alone.
        shuffle: whether Keras mixes the batches of a `keras.utils.PyDataset`.
        class_weight: as in `fit`, of a `keras.utils.PyDataset`.
        in_graphs: whether the functions of a `tf.data.Dataset` run in this process.
    """
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        return _mapped(x, _noted(check, note)) if in_graphs else x
    if isinstance(x, types.GeneratorType):
        return (batch for batch in map(_noted(_LikeTheFirst(name, _in_tuples(name, check)), note), x))
    check = _noted(_LikeTheFirst(name, check), note)
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedPyDataset(x, check, class_weight=class_weight, shuffle=shuffle)
    if any(kind.__module__.startswith("torch.utils.data") for kind in type(x).__mro__) and class_weight is None:
        return _CheckedLoader(x, check)
    return None


class _LikeTheFirst:
    """A check of each batch, which then must also have the names and shapes that the first two let expect."""

    def __init__(self, name: str, check: Check) -> None:
        self._name, self._check = name, check
        self._expected: dict[str, tuple[Any, ...]] = {}
        self._seen = 0

    def __call__(self, batch: Any) -> Any:
        self._check(batch)
        shapes = _shapes(batch)
        self._seen += 1
        if self._seen == 1:
            self._expected = {name: (None, *shape[1:]) for name, shape in shapes.items()}
        if set(shapes) != set(self._expected):
            raise InputError(
                f"{self._name}: a batch holds {', '.join(shapes)}, wanted {', '.join(self._expected)} like the first "
                "one. On TensorFlow all batches have the same inputs, labels and weights."
            )
        for name, expected in self._expected.items():
            shape = shapes[name]
            if self._seen == 2 and len(shape) == len(expected):
                expected = tuple(a if a == b else None for a, b in zip(expected, shape, strict=True))
                self._expected[name] = expected
            if len(shape) != len(expected) or any(b not in (None, a) for a, b in zip(shape, expected, strict=True)):
                sizes = ", ".join("?" if size is None else str(size) for size in expected)
                raise InputError(
                    f"{self._name}: {name} of a batch has shape {shape}, wanted ({sizes}) like the first ones. Keras "
                    "on TensorFlow takes a size that the first two batches have in common for that of all: pad them to "
                    "one length, or let the first two have different ones."
                )
        return batch


def _shapes(batch: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a batch's arrays by a name."""
    found = {}
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    for part, data in zip(("inputs", "labels", "sample_weight"), parts, strict=False):
        several = isinstance(data, list | tuple) and any(hasattr(item, "shape") for item in data)
        named = data if isinstance(data, Mapping) else dict(enumerate(data)) if several else {part: data}
        for name, array in named.items():
            if array is not None:
                found[f"{part} {name}" if several or name in found else str(name)] = tuple(np.shape(array))
    return found


def _in_tuples(name: str, check: Check) -> Check:
    def checked(batch: Any) -> Any:
        if not isinstance(batch, tuple):
            raise InputError(
                f"{name}: a batch of a generator is a {type(batch).__name__}, wanted a tuple: (inputs,), (inputs, "
                "labels) or (inputs, labels, sample_weight)."
            )
        return check(batch)

    return checked


def _noted(check: Check, note: Note) -> Check:
    def checked(batch: Any) -> Any:
        try:
            return check(batch)
        except Exception as e:
            note(e)
            raise

    return checked


class _CheckedPyDataset(PyDatasetAdapter):
    def __init__(self, x: Any, check: Check, **kwargs: Any) -> None:
        super().__init__(x, **kwargs)
        self._check, self._first_ones = check, False

    def get_tf_dataset(self) -> Any:
        self._first_ones = True  # Keras learns ranks from the first batches
        try:
            return super().get_tf_dataset()
        finally:
            self._first_ones = False

    def _standardize_batch(self, batch: Any) -> Any:
        batch = super()._standardize_batch(batch)
        return self._check(batch) if self._first_ones else batch

    def _get_iterator(self) -> Iterator[Any]:
        return map(self._check, super()._get_iterator())


class _CheckedLoader(TorchDataLoaderAdapter):
    def __init__(self, loader: Any, check: Check) -> None:
        super().__init__(loader)
        self._dataloader = _Checked(loader, check)


class _Checked:
    """What another object iterates over, checked."""

    def __init__(self, batches: Any, check: Check) -> None:
        self._batches, self._check = batches, check

    def __iter__(self) -> Iterator[Any]:
        return map(self._check, self._batches)


def _mapped(dataset: Any, check: Check) -> Any:
    """A `tf.data.Dataset` that checks each element when it is asked for it."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def looked_at(*parts: Any) -> Any:
        element = parts if isinstance(dataset.element_spec, tuple) else parts[0]
        arrays = keras.tree.flatten(element)
        places = [i for i, array in enumerate(arrays) if isinstance(array, tf.Tensor)]

        def look(*values: Any) -> bool:
            found = dict(zip(places, values, strict=True))
            check(keras.tree.pack_sequence_as(element, [found.get(i) for i in range(len(arrays))]))
            return True

        seen = tf.numpy_function(look, [arrays[i] for i in places], tf.bool)
        with tf.control_dependencies([seen]):
            arrays = [tf.identity(array) if isinstance(array, tf.Tensor) else array for array in arrays]
        return keras.tree.pack_sequence_as(element, arrays)

    return dataset.map(looked_at)

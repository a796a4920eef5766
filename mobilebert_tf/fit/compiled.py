"""Sees to it that each batch of a step that a compiler made is checked once: inside the step none can raise.

Unchecked, an id outside the table reads the nearest row or NaN, and a wrong class number counts as another class or
makes the loss NaN, without an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..inputs import PROBE
from .batches import checked_where_they_come_from
from .data import prepared

if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object

_NEED_NO_CHECK: ContextVar[frozenset[str]] = ContextVar("_NEED_NO_CHECK", default=frozenset())  # "train", "test" ...


def _same_in_batches(array: Any) -> bool:
    """Whether the values of an array can be read, and are the same ones in Keras's batches, which are of `floatx`."""
    if not hasattr(array, "shape"):
        return True
    bounds = PROBE.bounds(array)
    widest = np.finfo("float16" if keras.backend.floatx() == "float16" else "float32").max
    return bounds is not None and max(abs(bound) for bound in bounds) <= float(widest)


class CheckedBeforeSteps(_Model):
    """Mixed into a `keras.Model`: what its steps read is checked as `fit` checks arrays.

    Of arrays that lie with several processes, or with PyTorch on a GPU, no values are read: their shapes are checked.
    Under a strategy of TensorFlow a `tf.data.Dataset` is not checked.
    """

    def make_train_function(self, force: bool = False) -> Any:
        return self._make_checked("train", force)

    def make_test_function(self, force: bool = False) -> Any:
        return self._make_checked("test", force)

    def make_predict_function(self, force: bool = False) -> Any:
        return self._make_checked("predict", force)

    def _make_checked(self, kind: str, force: bool) -> Any:
        new = force or getattr(self, f"{kind}_function") is None
        made = getattr(super(), f"make_{kind}_function")(force)
        if new:
            setattr(self, f"{kind}_function", self._checked_step(kind, getattr(self, f"{kind}_function")))
        return made

    def _checked_step(self, kind: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, before which batches are checked that no one has checked."""
        backend = keras.backend.backend()
        if self.run_eagerly or (backend != "tensorflow" and not self.jit_compile):
            return step
        if backend == "tensorflow" and self._distribute_strategy is not None:
            return step  # its batches are those of several replicas

        def checked(*arguments: Any) -> Any:
            if kind in _NEED_NO_CHECK.get():
                return step(*arguments)
            *state, batches = arguments  # on JAX a state comes first
            if backend == "jax":
                return step(*state, map(self._checked_batch, batches))
            if backend == "tensorflow" and kind != "predict":
                batches = list(itertools.islice(batches, self.steps_per_execution))
                if not batches:
                    raise StopIteration
                return step(iter([self._checked_batch(batch) for batch in batches]))
            return step([self._checked_batch(batch) for batch in batches])

        return checked

    def _checked_batch(self, batch: Any) -> Any:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            absent = tf.experimental.Optional  # how Keras passes None through a dataset
            known = keras.tree.map_structure(lambda array: None if isinstance(array, absent) else array, batch)
        else:
            known = batch
        prepared(self, *keras.utils.unpack_x_y_sample_weight(known))
        return batch

    def _note(self, error: Exception) -> None:
        """Keeps the error of a batch for `_explained`: between the two is TensorFlow."""
        self.__dict__["_batch_error"] = error

    def _needs_no_check(self, passed: dict[str, Any], shuffle: bool = False) -> bool:
        """Whether steps need not look at the data of one call, as `prepared` gave it.

        Arrays have been looked at as a whole. For data that comes batch by batch, `passed` gets the same data, checked
        where it comes from.
        """
        x, y, sample_weight = (passed.get(name) for name in ("x", "y", "sample_weight"))
        if isinstance(x, Mapping):
            return all(_same_in_batches(array) for array in keras.tree.flatten((x, y, sample_weight)))
        alone = y is None and sample_weight is None and not passed.get("validation_split")
        if keras.backend.backend() != "tensorflow" or not alone:
            return False  # by Keras's own error, or each step looks
        in_graphs = not self.run_eagerly and self._distribute_strategy is None
        weights = passed.get("class_weight")
        found = checked_where_they_come_from(
            type(self).__name__, x, self._checked_batch, self._note, shuffle, weights, in_graphs
        )
        if found is not None:
            passed["x"] = found
        return found is not None

    @contextmanager
    def _steps_without_checks(self, **kinds: bool) -> Iterator[None]:
        """Steps of the kinds that are True look at no batch meanwhile."""
        token = _NEED_NO_CHECK.set(frozenset(kind for kind, needless in kinds.items() if needless))
        try:
            yield
        finally:
            _NEED_NO_CHECK.reset(token)

    def _get_jax_state(self, **passed: Any) -> Any:
        """JAX's steps take the values off the model; kept here, an error before the first one gives them back."""
        state = super()._get_jax_state(**passed)
        if passed.get("purge_model_variables"):
            parts = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
            self._jax_state = dict(zip([name for name in parts if passed.get(name)], state, strict=True))
        return state

    def jax_state_sync(self) -> None:
        """As Keras's, where there are values: a compiled step that fails while it runs has taken them for good."""
        values = keras.tree.flatten(getattr(self, "_jax_state", None) or {})
        if not any(value is not None and value.is_deleted() for value in values):
            super().jax_state_sync()

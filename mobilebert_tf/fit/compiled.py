"""Checks the batches of steps that XLA compiles (`jit_compile=True`) before the step: inside it none can raise.

Unchecked, an id outside the table reads the nearest row or NaN, and a wrong class number counts as another class or
makes the loss NaN, without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from .data import prepared

if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object


class CheckedBeforeSteps(_Model):
    """Mixed into a `keras.Model`: what its steps read is checked as `fit` checks arrays.

    Of arrays that lie with several processes, or with PyTorch on a GPU, no values are read: their shapes are checked.
    Under a strategy of TensorFlow nothing is.
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
            setattr(self, f"{kind}_function", self._checked_step(getattr(self, f"{kind}_function")))
        return made

    def _checked_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        if self.run_eagerly or not self.jit_compile or keras.backend.backend() == "tensorflow":
            return step
        if keras.backend.backend() == "torch":
            return lambda batches: step([self._checked_batch(batch) for batch in batches])
        return lambda state, batches: step(state, map(self._checked_batch, batches))

    def _checked_batch(self, batch: Any) -> Any:
        prepared(self, *keras.utils.unpack_x_y_sample_weight(batch))
        return batch

    def _autoconvert_optionals(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """TensorFlow's steps on a batch, which a graph around them calls: it can look at values."""
        inner: Callable[..., Any] = super()._autoconvert_optionals(step)
        if self.run_eagerly or self._distribute_strategy is not None:
            return inner  # of a strategy, steps may run on other machines, which do not know this process's functions
        return lambda batch: inner(self._checked_in_graph(batch))

    def _checked_in_graph(self, batch: Any) -> Any:
        """A batch that waits for its check, whose error `_explained` finds in `_batch_error`."""
        import tensorflow as tf

        arrays = [None if isinstance(a, tf.experimental.Optional) else a for a in keras.tree.flatten(batch)]
        known = [array for array in arrays if isinstance(array, tf.Tensor)]
        if tf.executing_eagerly() or len(known) < sum(array is not None for array in arrays):
            return batch  # arrays that are checked already, or replicas' parts

        def look(*values: Any) -> bool:
            try:
                self._checked_batch(filled(values))
            except Exception as e:
                self.__dict__["_batch_error"] = e
                raise
            return True

        def filled(values: Any) -> Any:
            found = iter(values)
            return keras.tree.pack_sequence_as(batch, [None if array is None else next(found) for array in arrays])

        with tf.control_dependencies([tf.py_function(look, known, tf.bool)]):
            return filled([tf.identity(array) for array in known])

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

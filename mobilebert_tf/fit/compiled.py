"""Batches of steps that a compiler made, which look at no values: checked where they come in, before the step.

On JAX such a step would take the nearest row for an id outside the table, and a wrong class number would make the
loss NaN, both without an error.
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
    """Mixed into a `keras.Model`: what its compiled steps on JAX read is checked as `fit` checks arrays.

    Of arrays that lie with several processes no values are known: their shapes are checked.
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
        if keras.backend.backend() != "jax" or self.run_eagerly or not self.jit_compile:
            return step
        return lambda state, batches: step(state, map(self._checked_batch, batches))

    def _checked_batch(self, batch: Any) -> Any:
        prepared(self, *keras.utils.unpack_x_y_sample_weight(batch))
        return batch

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

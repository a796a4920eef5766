"""Adam on TensorFlow, with few operations a weight.

MobileBERT has 1,113 variables. Keras builds about twenty graph operations for each of them for Adam, weight decay and
clipping, and building that graph takes longer than a hundred training steps. TensorFlow has the update as one
kernel, and a norm as another.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from ..serialization import serializable

_WIDE = ("float32", "float64")  # dtypes that TensorFlow's kernels update as exactly as Keras does


def fused_update(optimizer: Any, gradient: Any, variable: Any, rate: Any, powers: tuple[Any, Any]) -> None:
    """Adam's update of one TensorFlow variable, by TensorFlow's kernel.

    Args:
        powers: both betas to the power of the steps so far, of the variable's dtype like `rate`.
    """
    import tensorflow as tf

    index = optimizer._get_variable_index(variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=rate,
        beta1=float(optimizer.beta_1),
        beta2=float(optimizer.beta_2),
        epsilon=float(optimizer.epsilon),
        grad=tf.convert_to_tensor(gradient, variable.dtype),
    )


def _backend_update_step(self: Any, gradients: Any, variables: Any, learning_rate: Any) -> None:
    """Adam's update as one kernel a weight."""
    if self.amsgrad or not _is_fusible(variables):
        keras.optimizers.Adam._backend_update_step(self, gradients, variables, learning_rate)
        return
    import tensorflow as tf

    dtype = _plain(variables[0]).dtype
    step = tf.cast(tf.convert_to_tensor(self.iterations), dtype) + 1.0  # no variable when gradients accumulate
    beta1_power, beta2_power = (tf.pow(tf.constant(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
    rate = tf.cast(learning_rate, dtype)
    for gradient, variable in zip(gradients, map(_plain, variables), strict=True):
        fused_update(self, gradient, variable, rate, (beta1_power, beta2_power))


def _apply_weight_decay(self: Any, variables: Any) -> None:
    """variable -= variable * decay * learning rate, for the variables that decay."""
    if self.weight_decay is None:
        return
    decaying = [variable for variable in variables if self._use_weight_decay(variable)]
    if not _is_fusible(decaying):
        keras.optimizers.Adam._apply_weight_decay(self, variables)
        return
    if not decaying:
        return
    import tensorflow as tf

    dtype = _plain(decaying[0]).dtype
    amount = tf.cast(self.learning_rate, dtype) * tf.constant(self.weight_decay, dtype)
    for variable in map(_plain, decaying):
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=amount, delta=variable)


def _clip_gradients(self: Any, gradients: list[Any]) -> list[Any]:
    """Clips by the global norm here, otherwise as Keras does."""
    tensorflow = keras.backend.backend() == "tensorflow"
    if (
        not self.global_clipnorm
        or not tensorflow
        or any(g is not None and g.dtype.name not in _WIDE for g in gradients)
    ):
        return keras.optimizers.Adam._clip_gradients(self, gradients)
    import tensorflow as tf

    dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
    norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(g) for g in dense if g is not None]))
    # The last term is 0, or not a number if a gradient is none: then no weight shall look healthy.
    scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm) + (norm - norm)
    return [None if g is None else g * scale for g in dense]


def _plain(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _is_fusible(variables: Any) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return False
    plain = [_plain(v) for v in variables]
    return all(isinstance(v, tf.Variable) and v.dtype.name in _WIDE and v.dtype == plain[0].dtype for v in plain)


_FROZEN = "frozen"  # beside the variables of an optimizer in Keras's files: which belong to weights that were frozen


class _KeepsState:
    """For optimizers: what is saved after weights were frozen is loaded into a model where they are.

    Keras builds the optimizer of a loaded model for the weights that train. Saved is the state of those of `compile`,
    so that after freezing without another `compile` the two do not fit, and Keras leaves all of it out.
    """

    def save_own_variables(self: Any, store: Any) -> None:
        super().save_own_variables(store)  # type: ignore[misc]  # of keras.optimizers.Optimizer
        if frozen := sorted(_places_of_frozen(self)):
            store[_FROZEN] = np.array(frozen, np.int64)

    def load_own_variables(self: Any, store: Any) -> None:
        saved = {int(name): store[name] for name in store.keys() if name != _FROZEN}  # noqa: SIM118
        if len(saved) != len(self.variables) and _FROZEN in store:
            for place in np.array(store[_FROZEN]):
                saved.pop(int(place), None)
        super().load_own_variables({str(i): saved[name] for i, name in enumerate(sorted(saved))})  # type: ignore[misc]


def _places_of_frozen(optimizer: Any) -> Iterator[int]:
    """Where among its variables are those for weights that were frozen since it was built."""
    places = {id(variable): place for place, variable in enumerate(optimizer.variables)}
    weights = getattr(optimizer, "_trainable_variables", ())
    for states in vars(optimizer).values():  # a list for each kind of state, in the order of the weights
        if isinstance(states, list) and len(states) == len(weights):
            for state, weight in zip(states, weights, strict=True):
                if not weight.trainable and id(state) in places:
                    yield places[id(state)]


@serializable
class FusedAdamW(_KeepsState, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` that on TensorFlow decays, clips and updates each weight in one operation each.

    Arguments, configuration and state are those of AdamW. Distribution strategies, amsgrad, weights of half precision
    and other backends take Keras's own way. The results agree with Keras to float32 rounding (in float64 they are
    more exact: Keras rounds the betas), except for table rows that a batch looks up more than once: their
    gradients are added up before they are squared and clipped, as in PyTorch; Keras takes them one by one.

    In a model of any kind that is frozen without another `compile`, saved to `.keras` and loaded, the state of the
    weights that still train is kept; with Keras's own it is lost, and Keras warns of "Skipping variable loading".
    """

    _backend_update_step = _backend_update_step
    _apply_weight_decay = _apply_weight_decay
    _clip_gradients = _clip_gradients


@serializable
class FusedAdam(_KeepsState, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with the operations of `FusedAdamW`."""

    _backend_update_step = _backend_update_step
    _apply_weight_decay = _apply_weight_decay
    _clip_gradients = _clip_gradients


def fused(optimizer: Any) -> Any:
    """The optimizer that `compile` uses: "adam" and "adamw" by name become FusedAdam and FusedAdamW."""
    named = {"adam": FusedAdam, "adamw": FusedAdamW}
    return named[optimizer.lower()]() if isinstance(optimizer, str) and optimizer.lower() in named else optimizer


def fuse_updates(optimizer: Any) -> None:
    """Replaces three methods of a user's own `keras.optimizers.Adam` or `AdamW` object by those of `FusedAdamW`.

    The user holds the object, so `model.optimizer` must stay this object. With Keras's own methods the first `fit` of
    1,113 variables takes 125 to 145 s on one core, with these 25 s. Class, configuration and state of the object
    stay as they are. Under loss scaling it is the optimizer inside. Other classes and amsgrad are left alone.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if keras.backend.backend() != "tensorflow" or getattr(optimizer, "amsgrad", True):
        return
    if type(optimizer) not in (keras.optimizers.Adam, keras.optimizers.AdamW):
        return
    for method in (_backend_update_step, _apply_weight_decay, _clip_gradients):
        object.__setattr__(optimizer, method.__name__, types.MethodType(method, optimizer))

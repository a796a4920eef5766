"""Adam on TensorFlow, with few operations a weight.

MobileBERT has 1,113 variables. Keras spends some twenty graph operations on each for Adam, weight decay and
clipping, and building that graph takes longer than a hundred training steps. TensorFlow has the update as one
kernel, and a norm as another.
"""

from __future__ import annotations

import types
from typing import Any

import keras


def fuse_updates(optimizer: Any) -> None:
    """Lets a Keras Adam or AdamW on TensorFlow decay, clip and update each float32 weight in one operation each.

    The optimizer stays the object it is, with its class, configuration and state: only three of its methods are
    replaced on the instance. Any other optimizer, amsgrad, distribution strategies and other backends are left
    alone. Agrees with Keras's own arithmetic to float32 rounding.
    """
    if keras.backend.backend() != "tensorflow" or getattr(optimizer, "amsgrad", True):
        return
    if type(optimizer) not in (keras.optimizers.Adam, keras.optimizers.AdamW):
        return
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return
    for name, method in (
        ("update_step", _update_step),
        ("_apply_weight_decay", _apply_weight_decay),
        ("_clip_gradients", _clip_gradients),
    ):
        object.__setattr__(optimizer, name, types.MethodType(method, optimizer))


def _update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    import tensorflow as tf

    variable = _plain(variable)
    if not _is_fusible(variable, tf):
        type(self).update_step(self, gradient, variable, learning_rate)
        return
    index = self._get_variable_index(variable)
    rate, beta1_power, beta2_power = _of_this_step(self, learning_rate, tf)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self._momentums[index].value.handle,
        v=self._velocities[index].value.handle,
        beta1_power=beta1_power,
        beta2_power=beta2_power,
        lr=rate,
        beta1=float(self.beta_1),
        beta2=float(self.beta_2),
        epsilon=float(self.epsilon),
        grad=tf.convert_to_tensor(gradient, tf.float32),
    )


def _apply_weight_decay(self: Any, variables: Any) -> None:
    """variable -= variable * decay * learning rate, for the variables that decay."""
    import tensorflow as tf

    if self.weight_decay is None:
        return
    variables = [_plain(v) for v in variables if self._use_weight_decay(v)]
    if not all(_is_fusible(variable, tf) for variable in variables):
        type(self)._apply_weight_decay(self, variables)
        return
    amount = tf.cast(self.learning_rate, tf.float32) * float(self.weight_decay)
    for variable in variables:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=amount, delta=variable)


def _clip_gradients(self: Any, gradients: list[Any]) -> list[Any]:
    """Clips by the global norm here, otherwise as Keras does."""
    import tensorflow as tf

    if not self.global_clipnorm or any(g is not None and g.dtype != tf.float32 for g in gradients):
        return type(self)._clip_gradients(self, gradients)
    dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
    clipped, _ = tf.clip_by_global_norm(dense, self.global_clipnorm)
    return clipped


def _plain(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _is_fusible(variable: Any, tf: Any) -> bool:
    return isinstance(variable, tf.Variable) and variable.dtype == tf.float32


def _of_this_step(optimizer: Any, learning_rate: Any, tf: Any) -> tuple[Any, Any, Any]:
    """Learning rate and both betas to the power of the step, made once in each graph that is recorded."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    known = optimizer.__dict__.get("_made_in_graph")
    if graph is None or known is None or known[0] is not graph:
        step = tf.cast(optimizer.iterations.value, tf.float32) + 1.0
        values = (
            tf.cast(learning_rate, tf.float32),
            tf.pow(float(optimizer.beta_1), step),
            tf.pow(float(optimizer.beta_2), step),
        )
        known = (graph, values)
        object.__setattr__(optimizer, "_made_in_graph", known)
    return known[1]

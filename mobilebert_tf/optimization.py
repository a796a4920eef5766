"""Adam on TensorFlow, one operation a weight.

MobileBERT has 1,113 variables. Keras's Adam spends some twelve graph operations on each, and building that
graph takes longer than a hundred training steps. TensorFlow has the same update as one kernel.
"""

from __future__ import annotations

import types
from typing import Any

import keras


def fuse_updates(optimizer: Any) -> None:
    """Lets a Keras Adam or AdamW on TensorFlow update each float32 weight with `ResourceApplyAdam`.

    The optimizer stays the object it is, with its class, configuration and state: only its `update_step` is
    replaced on the instance. Any other optimizer, amsgrad and other backends are left alone. Agrees with
    Keras's own update to float32 rounding.
    """
    if keras.backend.backend() != "tensorflow" or getattr(optimizer, "amsgrad", True):
        return
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW):
        object.__setattr__(optimizer, "update_step", types.MethodType(_fused_update_step, optimizer))


def _fused_update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    import tensorflow as tf

    variable = variable.value if isinstance(variable, keras.Variable) else variable
    if not isinstance(variable, tf.Variable) or variable.dtype != tf.float32:
        type(self).update_step(self, gradient, variable, learning_rate)
        return
    index = self._get_variable_index(variable)
    beta1_power, beta2_power = _powers(self, tf)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self._momentums[index].value.handle,
        v=self._velocities[index].value.handle,
        beta1_power=beta1_power,
        beta2_power=beta2_power,
        lr=tf.cast(learning_rate, tf.float32),
        beta1=float(self.beta_1),
        beta2=float(self.beta_2),
        epsilon=float(self.epsilon),
        grad=tf.convert_to_tensor(tf.cast(gradient, tf.float32)),
    )


def _powers(optimizer: Any, tf: Any) -> tuple[Any, Any]:
    """beta1 and beta2 to the power of the step, made once in each graph that is recorded."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    known = optimizer.__dict__.get("_powers_of_graph")
    if graph is None or known is None or known[0] is not graph:
        step = tf.cast(optimizer.iterations.value, tf.float32) + 1.0
        known = (graph, (tf.pow(float(optimizer.beta_1), step), tf.pow(float(optimizer.beta_2), step)))
        object.__setattr__(optimizer, "_powers_of_graph", known)
    return known[1]

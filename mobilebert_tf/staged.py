"""The optimizers of the trainer on TensorFlow: each weight at its own share of the learning rate and its own age.

Without gates they are AdamW and LAMB. Twin of LAMB: mobilebert_torch/lamb.py, where PyTorch's groups are the gates.
Source of LAMB: arXiv 1904.00962, algorithm 2. As in the released code of MobileBERT, biases and norms neither decay nor
are their steps rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .fit.optimization import FusedAdamW, fused_update
from .serialization import serializable


@serializable
class StagedAdamW(FusedAdamW):
    """`FusedAdamW` with gates.

    Attributes:
        gates: for each variable, in the order it was built with, the factor of its learning rate and the step at which
            its moments began; empty: 1 and 0 for all.
    """

    gates: Sequence[tuple[float, int]] = ()

    def _backend_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        if not self.gates:
            super()._backend_update_step(gradients, variables, learning_rate)
            return
        import tensorflow as tf

        for gradient, variable, (factor, begun) in self._gated(gradients, variables):
            rate = tf.cast(learning_rate, variable.dtype) * tf.constant(factor, variable.dtype)
            fused_update(self, gradient, variable, rate, self._powers(variable.dtype, begun))

    def _apply_weight_decay(self, variables: Any) -> None:
        if not self.gates:
            super()._apply_weight_decay(variables)
            return
        import tensorflow as tf

        for _, variable, (factor, _) in self._gated(variables, variables):
            if self.weight_decay and self._use_weight_decay(variable):
                amount = tf.cast(self.learning_rate, variable.dtype) * tf.constant(self.weight_decay, variable.dtype)
                amount *= tf.constant(factor, variable.dtype)
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=amount, delta=variable)

    def _gated(self, gradients: Any, variables: Any) -> list[tuple[Any, Any, tuple[float, int]]]:
        """Each gradient with its TensorFlow variable, the factor of the learning rate, and where moments began."""
        plain = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        return [
            (gradient, variable, self.gates[self._get_variable_index(variable)] if self.gates else (1.0, 0))
            for gradient, variable in zip(gradients, plain, strict=True)
        ]

    def _powers(self, dtype: Any, begun: int) -> tuple[Any, Any]:
        """Both betas to the power of the steps since the moments began."""
        import tensorflow as tf

        step = tf.cast(tf.convert_to_tensor(self.iterations) - begun + 1, dtype)
        return tf.pow(tf.constant(self.beta_1, dtype), step), tf.pow(tf.constant(self.beta_2, dtype), step)


@serializable
class Lamb(StagedAdamW):
    """LAMB with the arguments and the state of AdamW, and with gates. It runs on TensorFlow."""

    def _backend_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        import tensorflow as tf

        for gradient, variable, (factor, begun) in self._gated(gradients, variables):
            index, dtype = self._get_variable_index(variable), variable.dtype
            first, second = self._momentums[index].value, self._velocities[index].value
            gradient = tf.convert_to_tensor(gradient, dtype)
            beta1_power, beta2_power = self._powers(dtype, begun)
            m = first.assign(first * self.beta_1 + gradient * (1 - self.beta_1), read_value=True)
            v = second.assign(second * self.beta_2 + tf.square(gradient) * (1 - self.beta_2), read_value=True)
            update = m / (1 - beta1_power) / (tf.sqrt(v / (1 - beta2_power)) + self.epsilon)
            decays = self.weight_decay and self._use_weight_decay(variable)
            update = update + variable * self.weight_decay if decays else update
            ratio = tf.constant(1.0, dtype)
            if len(variable.shape) > 1:
                own, length = tf.norm(variable), tf.norm(update)
                both = tf.logical_and(own > 0, length > 0)
                ratio = tf.where(both, own / tf.where(both, length, tf.ones_like(length)), ratio)
            variable.assign_sub(update * (ratio * tf.cast(learning_rate, dtype) * tf.constant(factor, dtype)))

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: the decay is a part of the step, which is rescaled with it."""

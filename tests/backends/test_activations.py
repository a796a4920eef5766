from __future__ import annotations

import math

import numpy as np
import pytest

from mobilebert_core.configuration.fields import ACTIVATION_TABLE, ACTIVATIONS

# Each meaning by its definition, in float64.
DEFINITIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def test_each_backend_has_the_activations_of_the_table_and_no_others():
    import mobilebert_tf.layers
    import mobilebert_torch.layers

    meanings = [activation.meaning for activation in ACTIVATION_TABLE]
    assert list(mobilebert_torch.layers.ACTIVATIONS) == list(mobilebert_tf.layers.ACTIVATIONS) == meanings
    assert list(DEFINITIONS) == meanings


def test_every_name_means_one_activation():
    names = [name for activation in ACTIVATION_TABLE for name in activation.names]
    assert list(ACTIVATIONS) == names and len(set(names)) == len(names)
    google = [activation.google for activation in ACTIVATION_TABLE if activation.google is not None]
    assert len(set(google)) == len(google)


@pytest.mark.parametrize("meaning", DEFINITIONS)
def test_an_activation_is_its_definition_in_both_backends(meaning):
    import keras
    import torch

    import mobilebert_tf.layers
    import mobilebert_torch.layers

    x = np.linspace(-9, 9, 181)
    expected = DEFINITIONS[meaning](x)
    ours = mobilebert_torch.layers.ACTIVATIONS[meaning](torch.tensor(x)).numpy()
    theirs = mobilebert_tf.layers.ACTIVATIONS[meaning](keras.ops.convert_to_tensor(x, "float64"))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theirs), expected, rtol=0, atol=1e-14)

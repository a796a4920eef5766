"""`fit` under a strategy of TensorFlow, on two logical devices, and under Keras's own distribution.

In a process of its own: logical devices are made before TensorFlow starts. One strategy serves all heads, because
TensorFlow numbers the collective operations of each anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
from tests.keras_only.fitting import build, data, plain, weights_of
"""

STRATEGY = """
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
for name in ("SequenceClassification", "TokenClassification", "PreTraining", "QuestionAnswering"):
    x, y = data(name)
    if name == "TokenClassification":
        y["labels"][:3] = -100  # the first replica has far fewer labels than the second
    found = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            model = build(name, initializer_range=0.1)
            # SGD, whose steps are as large as the gradients: a loss scaled twice would show.
            model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
        passed = x | y if name == "PreTraining" else x
        labels = plain(y) if passed is x else None
        fitted = model.fit(passed, labels, epochs=2, batch_size=8, shuffle=False, verbose=0)
        evaluated = model.evaluate(x, plain(y), batch_size=8, verbose=0)
        found.append((fitted.history, evaluated, weights_of(model)))
    (history, evaluated, weights), (shared, shared_evaluated, shared_weights) = found
    assert set(history) == set(shared)
    for key in history:
        np.testing.assert_allclose(shared[key], history[key], rtol=1e-5, err_msg=f"{name} {key}")
    np.testing.assert_allclose(shared_evaluated, evaluated, rtol=1e-5)
    for one, other in zip(weights, shared_weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6, err_msg=name)
with mirrored.scope():
    model = build("SequenceClassification")
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.1))
x, y = data("SequenceClassification")
losses = model.fit(x, plain(y), epochs=3, batch_size=8, verbose=0).history["loss"]
assert losses[-1] < losses[0]
print("strategy done")
"""

# On TensorFlow Keras accepts a distribution and computes as it would without.
KERAS_DISTRIBUTION = """
x, y = data("SequenceClassification")
losses = []
for distribution in (None, keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])):
    keras.distribution.set_distribution(distribution)
    model = build("SequenceClassification")
    model.compile(keras.optimizers.SGD(0.1))
    losses.append(model.fit(x, plain(y), epochs=2, batch_size=8, shuffle=False, verbose=0).history["loss"])
    assert all(v.value.device.endswith("CPU:0") for v in model.weights)
assert losses[0] == losses[1]
print("distribution done")
"""


@pytest.mark.slow
def test_two_devices_compute_what_one_does():
    script = START + STRATEGY + KERAS_DISTRIBUTION
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and done.stdout.split() == ["strategy", "done", "distribution", "done"], done.stderr[
        -3000:
    ]

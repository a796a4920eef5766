"""The Keras models on JAX: forward parity, fit, saving and `sparse_prediction`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, tempfile
import keras, numpy as np
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_tf import MODEL_CLASSES
from conversion.parity.deviation import compare
from tests.keras_only.fitting import check_wrong_batches_are_refused
from tests.tiny import tiny_batch, tiny_config
import mobilebert_torch

assert keras.backend.backend() == "jax"
path, name = sys.argv[1:]
model = MODEL_CLASSES[name].from_pretrained(path)
batch = tiny_batch(model.config, name, batch=8)
reference = mobilebert_torch.MODEL_CLASSES[name].from_pretrained(path)
report = compare(reference, model, batch, gradients=False)
assert report.ok, report.first_divergence

labels = {n: batch.pop(n) for n in HEADS[name].label_names if n in batch}
model.compile("adamw", metrics=["accuracy"])
losses = model.fit(batch, labels, epochs=3, verbose=0, batch_size=8).history["loss"]
assert losses[-1] < losses[0]
predicted = model.predict(batch, verbose=0)
file = tempfile.mkdtemp() + "/model.keras"
model.save(file)
loaded = keras.models.load_model(file)
assert np.array_equal(np.asarray(loaded(batch)[0]), np.asarray(model(batch)[0]))
model.save_pretrained(path)
again = MODEL_CLASSES[name].from_pretrained(path)
assert np.array_equal(np.asarray(again(batch)[0]), np.asarray(model(batch)[0]))

# On JAX every token is scored: shapes do not depend on labels there.
name, losses = "PreTraining", []
for sparse in (False, True):
    keras.utils.set_random_seed(0)
    config = tiny_config(num_hidden_layers=1, attention_probs_dropout_prob=0.0, sparse_prediction=sparse)
    model = MODEL_CLASSES[name](config)
    batch = tiny_batch(config, name, batch=8)
    output = model(batch)
    assert output[1].shape == (8, 11, 97)
    labels = {n: batch.pop(n) for n in model.head.label_names}
    model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    history = model.fit(batch, labels, epochs=2, verbose=0, batch_size=8).history
    losses.append([float(output.loss), *history["loss"], model.evaluate(batch, labels, verbose=0)[0]])
np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
assert losses[0][-1] < losses[0][0]

for exported in (model, model.as_functional()):
    try:
        exported.export(file + ".exported")
    except ConfigError as e:
        assert "numbers after the first axis" in str(e)
    else:
        raise AssertionError("it was exported")
check_wrong_batches_are_refused()
check_wrong_batches_are_refused(jit_compile=True)
print("done")
"""


@pytest.mark.jax
@pytest.mark.slow
@pytest.mark.parametrize("name", ["MaskedLM"])
def test_models_run_on_jax(checkpoint, name):
    path = checkpoint(name, num_hidden_layers=1)
    # Compiling takes longest: it need not make quick programs.
    flags = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, **flags}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), name],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip().endswith("done"), done.stderr[-3000:]

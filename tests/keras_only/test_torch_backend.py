"""The Keras models on PyTorch, in a process of its own: predict gives what a call gives, fit and saving work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import keras, numpy as np, onnxruntime, torch
from mobilebert_core.errors import ConfigError
from mobilebert_core.outputs import ModelOutput
from mobilebert_tf import ResumeTraining
from tests.keras_only.fitting import build, check_wrong_batches_are_refused, data, plain, weights_of

assert keras.backend.backend() == "torch"
model, (x, y) = build("SequenceClassification"), data("SequenceClassification")
expected = model(x).logits.detach().numpy()
found = model.predict(x, batch_size=3, verbose=0)
assert isinstance(found, ModelOutput)
np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-6)
np.testing.assert_allclose(model.predict_on_batch(x).logits, expected, rtol=1e-5, atol=1e-6)
model.compile("adam")
model.fit(x, plain(y), verbose=0)
model.save(sys.argv[1])
loaded = keras.models.load_model(sys.argv[1])
assert np.array_equal(loaded(x).logits.detach().numpy(), model(x).logits.detach().numpy())
try:
    model.export(sys.argv[1] + ".onnx", format="onnx")
except ConfigError as e:
    assert "records a graph for one size" in str(e)

# Dropout without a seed is drawn from PyTorch's own generator, which goes on where it was.
class Interrupted(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

def trained(*callbacks):
    dropped = build("SequenceClassification", hidden_dropout_prob=0.3)
    dropped.compile("adamw")
    try:
        dropped.fit(x, plain(y), batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[*callbacks])
    except KeyboardInterrupt:
        pass
    return weights_of(dropped)

whole, half = trained(), trained(ResumeTraining(sys.argv[2]), Interrupted())
resumed = trained(ResumeTraining(sys.argv[2]))
assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))
assert not all(np.array_equal(a, b) for a, b in zip(whole, half, strict=True))

# Keras learns shapes from placeholders of 83 tokens and more, of which nothing may be looked up.
few = {n: v[:, :2] for n, v in x.items()}
for name in ("SequenceClassification", "QuestionAnswering", "MultipleChoice"):
    short = build(name, max_position_embeddings=3, type_vocab_size=1)
    assert short.as_functional().inputs[0].shape == ((None, None, None) if short.head.per_choice else (None, None))
np.testing.assert_array_equal(short.as_functional()({n: v[None] * (n != "token_type_ids") for n, v in few.items()})
    ["logits"].detach(), short(few["input_ids"][None], few["attention_mask"][None]).logits.detach())

# Files of one size, in PyTorch's and ONNX's formats.
signature = [{n: keras.InputSpec(shape=v.shape, dtype="int32", name=n) for n, v in x.items()}]
expected = model(x).logits.detach().numpy()
model.export(sys.argv[1] + ".pt2", format="torch", input_signature=signature, verbose=False)
program = torch.export.load(sys.argv[1] + ".pt2").module()
(found,) = program({n: torch.as_tensor(v) for n, v in x.items()}).values()
np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)
fixed = keras.Input((11,), dtype="int32")
around = keras.Model(fixed, keras.layers.Dense(2)(model(fixed).logits))
assert around(x["input_ids"]).shape == (8, 2)
model.export(sys.argv[1] + ".onnx", format="onnx", input_signature=signature, verbose=False)
session = onnxruntime.InferenceSession(sys.argv[1] + ".onnx")
(found,) = session.run(None, x)
np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
check_wrong_batches_are_refused()
print("done")
"""


@pytest.mark.slow
def test_models_run_on_keras_with_pytorch(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "model.keras"), str(tmp_path / "backup")],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip().endswith("done"), done.stderr[-3000:]

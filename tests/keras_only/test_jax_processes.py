"""`fit` on JAX in two processes under Keras's own distribution: the losses and weights of one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import jax, keras, numpy as np
from tests.keras_only.fitting import build, data, plain, weights_of

number, address = int(sys.argv[1]), sys.argv[2]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
keras.distribution.initialize(address, 2, number)
parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
assert keras.backend.backend() == "jax" and parallel.num_processes == 2
x, y = data("TokenClassification", batch=16)
y["labels"][::2] = -100  # the rows of the first process have far fewer labels than those of the second
y["labels"][::4, :2] = 1


def fitted(rows, own=slice(None)):
    model = build("TokenClassification", initializer_range=0.1)
    # SGD, whose steps are as large as the gradients: a loss scaled twice would show.
    model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"], jit_compile=True)
    some, labels = ({n: a[own] for n, a in part.items()} for part in (x, y))
    history = model.fit(some, plain(labels), epochs=2, batch_size=rows, shuffle=False, verbose=0).history
    return history, weights_of(model)


if number == 0:
    alone, weights = fitted(8)
keras.distribution.set_distribution(parallel)
together, shared = fitted(4, slice(number, None, 2))
if number == 0:
    assert set(alone) == set(together)
    for key in alone:
        np.testing.assert_allclose(together[key], alone[key], rtol=1e-5, err_msg=key)
    for one, other in zip(weights, shared, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
print("done")
"""


@pytest.mark.jax
@pytest.mark.slow
def test_two_processes_compute_what_one_does():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Compiling takes longest: it need not make quick programs.
    flags = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(number), address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **flags},
            cwd=Path(__file__).parents[2],
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=400) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for process, (output, errors) in zip(started, said, strict=True):
        assert process.returncode == 0 and output.endswith("done\n"), errors[-3000:]

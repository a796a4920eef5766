"""How `fit` may be run: precisions, accumulation, compiled, eager, several steps at once, any optimizer of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_tf.fit.optimization import FusedAdamW, fuse_updates
from tests.keras_only.fitting import build, data, learnable, plain, weights_of

EPSILON = 1e-3  # of Adam: with the default, gradients of the size of rounding errors move weights by a whole step


def fitted(name="SequenceClassification", batch_size=8, epochs=3, dtype=None, optimizer=None, **compile_arguments):
    x, y = data(name)
    model = build(name, dtype=dtype, initializer_range=0.1)
    model.compile(optimizer or keras.optimizers.Adam(1e-3, epsilon=EPSILON), **compile_arguments)
    losses = model.fit(x, plain(y), batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0).history["loss"]
    return model, losses


def far_apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(weights_of(one), weights_of(other), strict=True))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_learns(policy):
    x, y = learnable("SequenceClassification")
    model = build("SequenceClassification", dtype=policy, initializer_range=0.1)
    model.compile(keras.optimizers.AdamW(1e-2, global_clipnorm=1.0))
    losses = model.fit(x, plain(y), batch_size=16, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < 0.05
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    assert hasattr(model.optimizer, "dynamic_scale") == (policy == "mixed_float16")


def test_loss_scaling_passes_over_what_is_not_finite():
    """A scale that is too large halves itself, without touching the weights, until gradients are finite again."""
    model = build("SequenceClassification", dtype="mixed_float16")
    inner = keras.optimizers.AdamW(1e-3)
    model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**120))
    assert "_backend_update_step" in vars(inner)
    before = weights_of(model)
    x, y = data("SequenceClassification")
    model.fit(x, plain(y), batch_size=4, verbose=0)
    assert float(model.optimizer.dynamic_scale) == 2.0**118 and int(inner.iterations) == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("make", [
    lambda steps: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=steps),
    lambda steps: keras.optimizers.AdamW(1e-3, epsilon=EPSILON, global_clipnorm=0.1, gradient_accumulation_steps=steps),
], ids=["SGD", "AdamW"])  # fmt: skip
def test_accumulated_gradients_are_those_of_a_large_batch(make):
    whole, _ = fitted(optimizer=make(None), batch_size=8)
    parts, _ = fitted(optimizer=make(2), batch_size=4)
    assert int(parts.optimizer.iterations) == int(whole.optimizer.iterations) == 3
    assert far_apart(whole, parts) < 1e-6 < far_apart(whole, build("SequenceClassification", initializer_range=0.1))


@pytest.mark.slow
def test_ways_to_run_give_the_same_weights():
    reference, losses = fitted(batch_size=2)
    for way in ({"run_eagerly": True}, {"steps_per_execution": 2}, {"steps_per_execution": 3}):
        model, found = fitted(batch_size=2, **way)
        assert far_apart(reference, model) < 1e-6, way
        assert found == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SequenceClassification", "TokenClassification"])
def test_compiled_by_xla(name):
    optimizer = keras.optimizers.AdamW(1e-3, epsilon=EPSILON, global_clipnorm=1.0)
    reference, losses = fitted(name, optimizer=keras.optimizers.AdamW.from_config(optimizer.get_config()))
    model, found = fitted(name, optimizer=optimizer, jit_compile=True)
    assert far_apart(reference, model) < 1e-5
    assert found == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("make", [
    lambda: keras.optimizers.SGD(0.5), lambda: keras.optimizers.AdamW(1e-2), lambda: keras.optimizers.Lion(1e-3),
    lambda: keras.optimizers.RMSprop(1e-3), "adamw",
], ids=["SGD", "AdamW", "Lion", "RMSprop", "by name"])  # fmt: skip
def test_optimizers_learn(make):
    _, losses = fitted(optimizer=make if isinstance(make, str) else make(), epochs=12)
    assert losses[-1] < losses[0] - 1e-3


OPTIONS = {
    "nothing": {},
    "weight decay": {"weight_decay": 0.1},
    "global clipnorm": {"global_clipnorm": 0.5},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.05},
    "EMA": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
    "loss scale": {"loss_scale_factor": 1024.0},
    "accumulation": {"gradient_accumulation_steps": 3},
    "everything": {"weight_decay": 0.1, "global_clipnorm": 0.5, "use_ema": True, "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_fused_adamw_is_that_of_keras(options, graph):
    """Twelve steps with a schedule, one variable without decay, one gradient sparse, fused and as Keras does it."""
    finals = []
    for made in (FusedAdamW, keras.optimizers.AdamW):
        rng = np.random.default_rng(0)
        schedule = keras.optimizers.schedules.PolynomialDecay(1e-2, 20)
        optimizer = made(schedule, epsilon=EPSILON, **OPTIONS[options])
        shapes = ((7, 5), (3,), (6, 4))
        variables = [
            keras.Variable(rng.standard_normal(shape), dtype="float32", name=f"weight_{i}")
            for i, shape in enumerate(shapes)
        ]
        optimizer.exclude_from_weight_decay(var_list=[variables[1]])
        optimizer.build(variables)

        def step(first, second, rows, optimizer=optimizer):
            sparse = tf.IndexedSlices(rows, tf.constant([1, 4, 2]), tf.constant([6, 4]))
            sparse = tf.convert_to_tensor(sparse) if options == "loss scale" else sparse  # which Keras cannot divide
            optimizer.apply([first, second, sparse])

        step = tf.function(step) if graph else step
        for _ in range(12):
            step(*(tf.constant(rng.standard_normal(shape), tf.float32) for shape in ((7, 5), (3,), (3, 4))))
        finals.append([v.numpy() for v in (*variables, *optimizer.variables[2:])])
    for one, other in zip(*finals, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_a_row_looked_up_twice_gets_the_sum_of_its_gradients():
    """As in PyTorch. Keras alone squares the parts of a sparse gradient and adds up the squares."""
    finals = []
    for sparse in (True, False):
        optimizer = keras.optimizers.AdamW(1e-2, epsilon=EPSILON, global_clipnorm=0.5)
        variable = keras.Variable(np.ones((6, 4)), dtype="float32")
        optimizer.build([variable])
        fuse_updates(optimizer)
        for _ in range(3):
            parts = tf.IndexedSlices(tf.constant(np.arange(12.0).reshape(3, 4), tf.float32), [1, 4, 1], [6, 4])
            whole = tf.convert_to_tensor(np.array([[0] * 4, [8, 10, 12, 14], *[[0] * 4] * 2, [4, 5, 6, 7], [0] * 4]))
            optimizer.apply([parts if sparse else tf.cast(whole, tf.float32)])
        finals.append(variable.numpy())
    assert np.array_equal(*finals)

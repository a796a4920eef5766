"""Recorded graphs: what was changed after a recording is seen, and what was not is recorded once."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_core.errors import InputError
from mobilebert_tf import graphs
from mobilebert_tf.inference import Runner
from tests.keras_only.fitting import build, data


@pytest.fixture
def recorded(monkeypatch):
    """Counts the runs of a model that record a graph."""
    counts = []
    original = graphs.keras.Model.__call__

    @functools.wraps(original)
    def counting(self, *args, **kwargs):
        if not tf.executing_eagerly():
            counts.append(type(self).__name__)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "__call__", counting)
    return counts


def softmax_head(model):
    model.classifier.activation = keras.activations.softmax


def other_head(model):
    head = keras.layers.Dense(2, kernel_initializer="ones")
    head.build((None, model.config.hidden_size))
    model._tracker.unlock()
    model.classifier = head


def other_block(model):
    model.mobilebert.encoder.layer[0] = build("SequenceClassification", seed=5).mobilebert.encoder.layer[0]


def other_embeddings(model):
    model.mobilebert.embeddings.padding_invariant = True
    model.mobilebert.encoder.layer[0].intermediate.activation = keras.activations.tanh


def adapters(model):
    model.enable_lora(2)
    for layer in model.low_rank_adapters._adapted:
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))


def own_call(model):
    model.classifier.call = lambda x, **_: keras.ops.zeros((keras.ops.shape(x)[0], 2))


def half_head(model):
    model.classifier.dtype_policy = "bfloat16"


def quantized(model):
    model.quantize("int8")


def larger_vocabulary(model):
    model.resize_token_embeddings(120)
    model.mobilebert.embeddings.word_embeddings.embeddings.assign(np.ones((120, 20)))


def fewer_heads(model):
    model.prune_heads({0: [1, 2]})


def other_weights(model):
    model.classifier.bias.assign([5.0, -5.0])


CHANGES = [
    softmax_head, other_head, other_block, other_embeddings, adapters, own_call, half_head, quantized,
    larger_vocabulary, fewer_heads, other_weights,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("change, verbose", [*((change, 0) for change in CHANGES), (other_block, 2)])
def test_a_change_is_seen_by_the_next_prediction(change, verbose):
    model, (x, _) = build("SequenceClassification", initializer_range=0.5), data("SequenceClassification")
    before = model.predict(x, verbose=verbose)["logits"]
    runner = Runner(model)
    runner.run(x)
    change(model)
    wanted = np.asarray(model(x).logits)
    rtol = 2e-2 if change in (half_head, quantized) else 1e-5  # a graph rounds bfloat16 and int8 at other places
    for found in (model.predict(x, verbose=verbose), runner.run(x), model.predict_on_batch(x)):
        np.testing.assert_allclose(found["logits"], wanted, rtol=rtol, atol=1e-6)
    assert not np.array_equal(np.asarray(wanted, np.float32), before)


def test_evaluate_sees_a_changed_layer():
    model, (x, y) = build("SequenceClassification", initializer_range=0.5), data("SequenceClassification")
    model.compile(keras.optimizers.SGD(0.0), metrics=["accuracy"])
    before = model.evaluate(x, y, verbose=0)[0]
    softmax_head(model)
    found = model.evaluate(x, y, verbose=0)[0]
    assert found == pytest.approx(float(model(x | y).loss), rel=1e-4) and abs(found - before) > 1e-3
    assert model.test_on_batch(x, y)[0] == pytest.approx(found, rel=1e-4)


def test_options_of_the_configuration_and_compiling_again():
    model, (x, _) = build("SequenceClassification"), data("SequenceClassification")
    scale = [1.0]
    model.classifier.activation = lambda scores: scores * scale[0]
    one = model.predict(x, verbose=0)["logits"]
    assert "hidden_states" not in model.predict(x, verbose=0)
    model.config.output_hidden_states = True
    assert "hidden_states" in model.predict(x, verbose=0)
    scale[0] = 2.0  # inside a function no change can be seen, and Keras too asks for compile()
    model.compile("sgd")
    np.testing.assert_allclose(model.predict(x, verbose=0)["logits"], 2 * one, rtol=1e-5)


def test_kinds_of_inputs_in_turn_are_recorded_once(recorded):
    model, (x, _) = build("SequenceClassification"), data("SequenceClassification")
    runner = Runner(model)
    for dtype in ("int32", "int64") * 3:
        for length in (3, 5, 7):
            batch = {name: array[:, :length].astype(dtype) for name, array in x.items()}
            model.predict(batch, verbose=0, batch_size=3)
            runner.run(batch)
            model.predict({"input_ids": batch["input_ids"]}, verbose=0)
    assert len(recorded) == 6  # two dtypes; with and without a mask in `predict`, with it in the runner
    model.classifier.activation = keras.activations.tanh
    model.predict(x, verbose=0)
    model.predict(x, verbose=0)
    assert len(recorded) == 7


def test_the_number_of_graphs_is_bounded(monkeypatch, recorded):
    monkeypatch.setattr(graphs, "KINDS", 2)
    model, (x, _) = build("SequenceClassification"), data("SequenceClassification")
    kinds = [{"input_ids": x["input_ids"].astype(dtype)} for dtype in ("int32", "int64")] + [x]
    for kind in kinds:
        model.predict(kind, verbose=0)
    assert len(model._prediction_graphs._graphs) == 2 and len(recorded) == 3


def test_training_and_saving_leave_the_graphs(tmp_path, recorded):
    model, (x, y) = build("SequenceClassification"), data("SequenceClassification")
    model.compile("sgd")
    model.fit(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.predict(x, verbose=2)
    counted = len(recorded)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model(x)
    model.predict(x, verbose=0)
    model.predict(x, verbose=2)
    assert len(recorded) == counted


@pytest.mark.parametrize("by", ["run", "predict"])
def test_threads_that_come_at_once_record_a_graph_once(recorded, by):
    model = build("SequenceClassification")
    batch = data("SequenceClassification", 4)[0]
    run = Runner(model).run if by == "run" else functools.partial(model.predict, verbose=0)
    run = functools.partial(run, {"input_ids": batch["input_ids"]})
    start = threading.Barrier(8)

    def work(_):
        start.wait()
        return run()["logits"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert len(recorded) == 1
    assert all(np.array_equal(run()["logits"], each) for each in found)


def test_a_watch_answers_while_it_looks(monkeypatch):
    watch = graphs.Watch(build("SequenceClassification"))
    watch.look()
    answers = []
    monkeypatch.setattr(graphs, "itemgetter", lambda *names: answers.append(watch.changed()) or itemgetter(*names))
    watch.look()
    assert answers
    assert not any(answers)
    softmax_head(watch.model)
    watch.look()
    assert answers[-1]
    assert not watch.changed()


def test_ids_outside_their_table_under_xla():
    """Its look-up knows no errors: those that cannot be checked before give NaN, and never another id's row."""
    model, (x, _) = build("TokenClassification"), data("TokenClassification", batch=2)
    x["position_ids"] = np.tile(np.arange(11, dtype="int32"), (2, 1))
    compiled = tf.function(lambda inputs: model(inputs)["logits"], jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(x), model(x)["logits"], rtol=1e-4, atol=1e-6)
    for name, size in (("input_ids", 97), ("token_type_ids", 3), ("position_ids", 37)):
        for value in (-1, -size, size):
            ids = x[name].copy()
            ids[0, 3] = value
            got = compiled({**x, name: ids}).numpy()
            assert np.isnan(got[0]).all() and np.isfinite(got[1]).all(), (name, value)


def test_a_plain_tf_function_rewrites_nothing_inside(caplog):
    """AutoGraph, which is on unless a user turns it off, warns of what it cannot rewrite."""
    model, (x, y) = build("TokenClassification"), data("TokenClassification", batch=2)
    block = model.mobilebert.embeddings

    def of_mapping(inputs):
        return model(inputs)["logits"]

    def of_keywords(inputs):
        return model(**inputs, **y)["loss"]

    def of_list(inputs):
        return model([inputs["input_ids"], inputs["attention_mask"]])["logits"]

    def of_layer(inputs):
        return block({"input_ids": inputs["input_ids"]})

    def of_training(inputs):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=inputs, y=y["labels"], y_pred=model(inputs, training=True))
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    model.compile("adamw")
    model.optimizer.build(model.trainable_variables)
    tf.get_logger().addHandler(caplog.handler)
    try:
        for function in (of_mapping, of_keywords, of_list, of_layer, of_training):
            tf.function(function)(x)
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "AutoGraph" not in caplog.text


def test_an_input_of_the_older_keras_is_refused():
    """A model of tf_keras around one of ours would have no weight to train."""
    placeholder = type("KerasTensor", (), {"__module__": "tf_keras.src.engine.keras_tensor", "shape": (None, 7)})()
    with pytest.raises(InputError, match="must be an array or an input of Keras 3, got a KerasTensor"):
        build("TokenClassification")(placeholder)

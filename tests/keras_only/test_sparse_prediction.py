"""`fit` and `evaluate` with `sparse_prediction`: labels and weights in every form, precision, quantization."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_core.errors import InputError
from mobilebert_tf import MaskedAccuracy
from tests.keras_only.test_citizenship import build, data

WORDS = ("MaskedLM", "PreTraining")


def models(name, dtype=None, **overrides):
    """One that scores every token and one that scores those with a label, of the same weights."""
    overrides = {"attention_probs_dropout_prob": 0.0, **overrides}
    return [build(name, dtype=dtype, sparse_prediction=sparse, **overrides) for sparse in (False, True)]


def fitted(model, x, y, loss=None, weights=None, weighted_metrics=None, **options):
    """Losses and accuracies of two epochs, then those of `evaluate`."""
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=[MaskedAccuracy()], weighted_metrics=weighted_metrics)
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **options}
    history = model.fit(x, y, sample_weight=weights, epochs=2, **options).history
    evaluated = model.evaluate(x, y, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)
    return history, evaluated


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other) and "loss" in one
        for name in other:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("MaskedLM", "list"), ("MaskedLM", "inputs"), ("MaskedLM", "dataset"),
        ("PreTraining", "y"), ("PreTraining", "list"), ("PreTraining", "dataset of inputs"),
    ],
)  # fmt: skip
def test_fit_is_that_of_all_tokens(name, form):
    x, y = data(name)
    if form == "y":
        passed = (x, y)
    elif form == "inputs":
        passed = (x | y, None)
    elif form == "list":
        passed = (list(x.values()), tuple(y.values()) if len(y) > 1 else y["labels"])
    else:
        passed = (tf.data.Dataset.from_tensor_slices((x, y) if form == "dataset" else (x | y,)).batch(4), None)
    dense, sparse = models(name)
    options = {"batch_size": None} if "dataset" in form else {}
    expected, found = fitted(dense, *passed, **options), fitted(sparse, *passed, **options)
    assert expected[0]["loss"][-1] < expected[0]["loss"][0]
    assert_same(found, expected)
    for one, other in zip(sparse.trainable_variables, dense.trainable_variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6, err_msg=one.path)
    predicted = sparse.predict(x, verbose=0)
    assert predicted[0].shape == (8, 11, 97)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "per_token"), [("MaskedLM", True), ("PreTraining", False)])
def test_sample_weights(name, per_token):
    """Of the words by text or by token; of a head with two tasks by label."""
    x, y = data(name)
    rng = np.random.default_rng(0)
    words = rng.uniform(0.5, 2.0, (8, 11) if per_token else (8,)).astype(np.float32)
    weights = words if name == "MaskedLM" else {"labels": words, "next_sentence_label": np.full(8, 0.5, np.float32)}
    options = {"weights": weights, "batch_size": 8, "weighted_metrics": ["accuracy"] if not per_token else None}
    dense, sparse = models(name)
    plain = float(dense(x | y).loss)
    y = y if len(y) > 1 else y["labels"]
    expected = fitted(dense, x, y, **options)
    assert_same(fitted(sparse, x, y, **options), expected)
    assert expected[0]["loss"][0] != pytest.approx(plain, rel=1e-2)


def test_weights_by_label_with_losses_of_keras():
    x, y = data("PreTraining")
    y["labels"] = np.abs(y["labels"]) % 97  # every token, as Keras's mean counts every token
    weights = {"labels": np.full((8, 11), 3.0, np.float32), "next_sentence_label": np.full(8, 0.5, np.float32)}
    scores = ("prediction_logits", "seq_relationship_logits")
    loss_of = keras.losses.sparse_categorical_crossentropy
    for model in models("PreTraining"):
        output = model(x)
        words, sentence = (loss_of(label, output[n], True).numpy() for label, n in zip(y.values(), scores, strict=True))
        model.compile("sgd", {n: keras.losses.SparseCategoricalCrossentropy(True) for n in scores})
        found = model.evaluate(x, y, sample_weight=weights, batch_size=8, verbose=0, return_dict=True)["loss"]
        assert found == pytest.approx(3.0 * words.mean() + 0.5 * sentence.mean(), rel=1e-4)


def test_a_batch_without_labels_and_wrong_labels():
    x, y = data("MaskedLM")
    model = models("MaskedLM")[1]
    nothing = {"labels": np.full_like(y["labels"], -100)}
    before = [v.numpy() for v in model.trainable_variables]
    history, evaluated = fitted(model, x, nothing)
    assert history["loss"] == [0, 0] and evaluated["loss"] == 0
    assert all(np.array_equal(v.numpy(), old) for v, old in zip(model.trainable_variables, before, strict=True))
    with pytest.raises(InputError, match="no loss to train with. Pass labels"):
        model.fit(x, verbose=0)
    with pytest.raises(InputError, match="labels must lie in 0..96"):
        model.fit(x, {"labels": y["labels"] + 50}, verbose=0)
    assert model.train_on_batch(x, y["labels"], return_dict=True)["loss"] > 0


@pytest.mark.slow
def test_mixed_float16_with_checkpointing():
    x, y = data("PreTraining")
    losses = []
    for model in models("PreTraining", dtype="mixed_float16", gradient_checkpointing=True):
        model.compile("adam")
        losses.append(model.fit(x, y, epochs=2, batch_size=4, verbose=0, shuffle=False).history["loss"])
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


@pytest.mark.slow
def test_jit_compile():
    x, y = data("MaskedLM")
    dense, sparse = models("MaskedLM")
    sparse.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    expected = float(dense(x | y).loss)
    assert sparse.fit(x, y, batch_size=8, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_lora_on_the_output_matrix():
    x, y = data("MaskedLM")
    dense, sparse = models("MaskedLM")
    for model in (dense, sparse):
        model.mobilebert.trainable = False
        model.cls.predictions.decoder.trainable = True
        model.cls.predictions.decoder.enable_lora(2)
        model.cls.predictions.dense.enable_lora(2)
    for one, other in zip(sparse.trainable_variables, dense.trainable_variables, strict=True):
        one.assign(other)
    before = sparse.cls.predictions.decoder.lora_embeddings_b.numpy()
    assert_same(fitted(sparse, x, y), fitted(dense, x, y))
    assert not np.array_equal(sparse.cls.predictions.decoder.lora_embeddings_b.numpy(), before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method implemented:UserWarning")
@pytest.mark.parametrize(("mode", "tolerance"), [("int8", 0.05), ("int4", 0.5)])
def test_a_quantized_output_matrix(mode, tolerance):
    x, y = data("MaskedLM")
    exact, sparse = models("MaskedLM")
    expected = exact(x).logits.numpy()
    for model in (exact, sparse):
        model.quantize(mode)
        assert model.cls.predictions.decoder.quantization_mode == mode
    found = exact(x).logits.numpy()
    assert 0 < np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    scored = sparse(x | y)
    np.testing.assert_allclose(scored.logits, found[y["labels"] != -100], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scored.loss, exact(x | y).loss, rtol=1e-5)


def test_the_output_matrix_is_not_joined():
    """In the graph of a call with a text of two tokens nothing is as large as the words but what reads them."""
    model = build("MaskedLM", vocab_size=3001)
    graph = tf.function(lambda ids: model(ids).logits).get_concrete_function(tf.constant([[5, 7]])).graph
    large = {
        op.type for op in graph.get_operations() for out in op.outputs if (out.shape.num_elements() or 0) >= 3001 * 20
    }
    assert large == {"ReadVariableOp", "Transpose"}  # the transpose is folded into the product when the graph is run

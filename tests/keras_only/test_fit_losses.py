"""Losses and metrics in every way in which `compile` takes them; the models give logits, and the loss must know."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_tf import MaskedAccuracy
from tests.keras_only.fitting import build, cross_entropy, data, plain

Sparse = keras.losses.SparseCategoricalCrossentropy


def first_loss(model, x, y, **compile_arguments):
    model.compile(keras.optimizers.SGD(0.0), **compile_arguments)
    return model.fit(x, y, batch_size=8, verbose=0).history


@pytest.mark.parametrize("loss", [
    "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", keras.losses.sparse_categorical_crossentropy,
    Sparse, Sparse(from_logits=True), [Sparse(from_logits=True)], {"logits": Sparse(from_logits=True)},
    {"labels": "sparse_categorical_crossentropy"},
    lambda y, logits: keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True),
], ids=range(9))  # fmt: skip
def test_every_spelling_of_the_loss_is_the_models_own(loss):
    x, y = data("SequenceClassification")
    model = build("SequenceClassification", initializer_range=0.5)
    found = first_loss(model, x, y["labels"], loss=loss)["loss"][0]
    assert found == pytest.approx(cross_entropy(model(x).logits, y["labels"]).mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["TokenClassification", "MaskedLM", "MultipleChoice"])
def test_named_losses_leave_out_what_is_not_learned(name):
    x, y = data(name)
    if name == "TokenClassification":
        y["labels"][:, ::2] = -100
    model = build(name, initializer_range=0.5)
    named = first_loss(model, x, plain(y), loss="sparse_categorical_crossentropy")["loss"][0]
    assert named == pytest.approx(first_loss(model, x, plain(y))["loss"][0], rel=1e-5)


@pytest.mark.slow
def test_losses_of_other_problems():
    x, _ = data("SequenceClassification")
    labels = np.random.default_rng(0).integers(0, 2, (8, 3)).astype(np.float32)
    model = build("SequenceClassification", num_labels=3, initializer_range=0.5)
    own = first_loss(model, x, labels)["loss"][0]
    assert first_loss(model, x, labels, loss="binary_crossentropy")["loss"][0] == pytest.approx(own, rel=1e-5)
    model = build("SequenceClassification", num_labels=1, initializer_range=0.5)
    own = first_loss(model, x, labels[:, 0])["loss"][0]
    assert first_loss(model, x, labels[:, 0], loss="mse")["loss"][0] == pytest.approx(own, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [
    {"prediction_logits": Sparse(True, ignore_class=-100), "seq_relationship_logits": Sparse(True)},
    {"labels": Sparse(True, ignore_class=-100), "next_sentence_label": "sparse_categorical_crossentropy"},
    [Sparse(True, ignore_class=-100), Sparse(True)],
    "sparse_categorical_crossentropy",
], ids=["by output", "by label", "list", "one for all"])  # fmt: skip
def test_losses_and_metrics_of_two_outputs(loss):
    x, y = data("PreTraining")
    model = build("PreTraining", initializer_range=0.5)
    own = first_loss(model, x, y)["loss"][0]
    history = first_loss(model, x, y, loss=loss, metrics={"labels": "accuracy"})
    assert history["loss"][0] == pytest.approx(own, rel=1e-5)
    both = history["prediction_logits_loss"][0] + history["seq_relationship_logits_loss"][0]
    assert both == pytest.approx(own, rel=1e-5)
    assert "prediction_logits_accuracy" in history and "seq_relationship_logits_accuracy" not in history


def test_weights_of_losses():
    x, y = data("PreTraining")
    model = build("PreTraining", initializer_range=0.5)
    history = first_loss(
        model, x, y, loss="sparse_categorical_crossentropy", loss_weights={"labels": 1.0, "next_sentence_label": 0.25}
    )
    parts = history["prediction_logits_loss"][0], history["seq_relationship_logits_loss"][0]
    assert history["loss"][0] == pytest.approx(parts[0] + 0.25 * parts[1], rel=1e-5)
    with pytest.raises(
        ConfigError, match="loss_weights was passed without a loss; the model's own loss has no weights"
    ):
        model.compile("sgd", loss_weights=[1.0, 0.5])


def test_losses_that_would_train_towards_nothing():
    model = build("SequenceClassification")
    with pytest.raises(
        ConfigError, match=r"wanted keras.losses.SparseCategoricalCrossentropy\(from_logits=True\), got"
    ):
        model.compile("sgd", loss=Sparse())
    with pytest.raises(ConfigError, match="losses and metrics are for logits, got 'start_logits'"):
        model.compile("sgd", loss={"start_logits": Sparse(True)})
    with pytest.raises(ConfigError, match=r"2 losses or weights were passed for the outputs \['logits'\]"):
        model.compile("sgd", loss=[Sparse(True), Sparse(True)])
    with pytest.raises(ConfigError, match="losses and metrics are for logits, got 'span'"):
        model.compile("sgd", metrics={"span": "accuracy"})


def test_metrics_by_name_instance_and_weight():
    x, y = data("TokenClassification")
    labels = y["labels"]
    labels[:, 5:] = -100
    model = build("TokenClassification", initializer_range=0.5)
    weights = np.arange(8, dtype=np.float32)
    logits = model(x).logits
    model.compile(keras.optimizers.SGD(0.0), metrics=["sparse_categorical_crossentropy"])
    found = model.evaluate(x, np.maximum(labels, 0), batch_size=8, verbose=0, return_dict=True)
    assert found["sparse_categorical_crossentropy"] == pytest.approx(
        cross_entropy(logits, np.maximum(labels, 0)).mean(), rel=1e-5
    )
    model.compile(keras.optimizers.SGD(0.0), metrics=["accuracy"], weighted_metrics=[MaskedAccuracy(name="weighted")])
    found = model.evaluate(x, labels, sample_weight=weights, batch_size=8, verbose=0, return_dict=True)
    right = np.asarray(logits).argmax(-1)[:, :5] == labels[:, :5]
    assert found["accuracy"] == pytest.approx(right.mean(), rel=1e-5)
    assert found["weighted"] == pytest.approx((right * weights[:, None]).sum() / weights.sum() / 5, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"Model"}))
def test_compiling_again_without_a_loss_goes_back_to_the_models_own(name):
    x, y = data(name)
    model = build(name)
    loss = {task.logits: "mean_squared_error" for task in HEADS[name].tasks}
    model.compile("sgd", loss=loss, metrics=["accuracy"])
    model.compile(keras.optimizers.SGD(0.0))
    found = model.evaluate(x, plain(y), verbose=0, return_dict=True)
    assert found == {"loss": pytest.approx(float(model(x | y).loss), rel=1e-4)}


def test_masked_accuracy_leaves_out_ignored_labels():
    metric = MaskedAccuracy()
    logits = np.eye(3, dtype=np.float32)[[[0, 1, 2, 2]]]
    metric.update_state(np.array([[0, 1, 0, -100]]), logits)
    assert float(metric.result()) == pytest.approx(2 / 3)
    metric.reset_state()
    metric.update_state(np.array([[0, 1, 0, -100]]), logits, sample_weight=np.array([0.5]))
    assert float(metric.result()) == pytest.approx(2 / 3)


@keras.saving.register_keras_serializable(package="tests")
class NamedAUC(keras.metrics.AUC):
    """A class of a user that computes as its parent does."""


@keras.saving.register_keras_serializable(package="tests")
class NamedSparse(Sparse):
    pass


class Doubled(Sparse):
    def call(self, y_true, y_pred):
        return 2 * super().call(y_true, y_pred)


def test_a_derived_class_that_computes_as_its_parent_is_the_parent():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification", initializer_range=0.5)
    metrics = ["AUC", NamedAUC(name="named"), None]
    found = first_loss(model, x, y["labels"], loss=NamedSparse(from_logits=True), metrics=[metrics])
    wanted = cross_entropy(model(x).logits, y["labels"]).mean()
    assert found["named"] == found["AUC"] and found["loss"][0] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ConfigError, match="the scores are logits"):
        model.compile("sgd", NamedSparse())
    doubled = first_loss(model, x, y["labels"], loss=Doubled(from_logits=True))["loss"][0]
    assert doubled == pytest.approx(2 * wanted, rel=1e-5)


def test_an_empty_mapping_of_losses():
    with pytest.raises(ConfigError, match="wanted a loss for logits, got an empty mapping"):
        build("SequenceClassification").compile("sgd", {})


def test_a_regression_has_no_class_numbers():
    model = build("SequenceClassification", num_labels=3, problem_type="regression")
    with pytest.raises(ConfigError, match="takes class numbers, and a regression has values"):
        model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ConfigError, match="takes class numbers, and a regression has values"):
        model.compile("sgd", "mse", metrics=["sparse_top_k_categorical_accuracy"])


def test_biases_whose_gradient_is_rounding_change_no_answer():
    """Adam moves them all the same, on each backend to another place (docs/good_to_know.md)."""
    model, (x, _) = build("MultipleChoice", dtype="float64"), data("MultipleChoice")
    before = keras.ops.softmax(model(x).logits)
    moved = [v for v in model.trainable_variables if v.path.endswith(("key/bias", "classifier/bias"))]
    for variable in moved:
        variable.assign_add(keras.ops.ones_like(variable))
    assert len(moved) == 2
    np.testing.assert_allclose(keras.ops.softmax(model(x).logits), before, rtol=1e-10)

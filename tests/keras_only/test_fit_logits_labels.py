"""Labels of -100, and what logits mean, for losses and metrics of Keras; and the same through a model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_tf.fit.loss_table import TABLE
from mobilebert_tf.fit.metrics import losses_by_output, metrics_by_output
from tests.keras_only.fitting import build, data
from tests.keras_only.logits import (
    BEST,
    LOGITS,
    LOSSES,
    METRICS,
    MULTI,
    NEEDED,
    NUMBERS,
    ONE_HOT,
    ONE_OR_TWO,
    RNG,
    ROWS,
    SEVERAL,
    SINGLE,
    TWO,
    P,
    Q,
    loss_of,
    metric_of,
    on_probabilities,
)
from tests.tiny import tiny_config

# ------------------------------------------------------------------------------------------------ -100

KEPT = RNG.uniform(size=(6, 5)) < 0.7
TOKEN_LABELS = np.where(KEPT, RNG.integers(0, 4, (6, 5)), -100)
TOKEN_LOGITS = RNG.normal(0, 3, (6, 5, 4)).astype(np.float32)
FLAT = TOKEN_LABELS[KEPT], TOKEN_LOGITS[KEPT]
TOKENS = {"head": "TokenClassification", "num_labels": 4}


@pytest.mark.parametrize("name", [n for n in LOSSES if TABLE[n].labels != "values"])
def test_losses_leave_out_tokens_without_a_label(name):
    labels = FLAT[0] if TABLE[name].labels == "numbers" else np.eye(4, dtype=np.float32)[FLAT[0]]
    wanted = on_probabilities(keras.losses, name, labels, FLAT[1], multi=False)
    assert loss_of(name, TOKEN_LABELS, TOKEN_LOGITS, **TOKENS) == pytest.approx(wanted, rel=2e-5)
    one_hot = np.where(KEPT[..., None], np.eye(4, dtype=np.float32)[TOKEN_LABELS % 4], -100)
    if TABLE[name].labels == "one-hot":
        assert loss_of(name, one_hot, TOKEN_LOGITS, **TOKENS) == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_with_sample_weight"])
def test_reductions_and_weights_of_texts(reduction):
    weights = RNG.uniform(0.5, 2, 6).astype(np.float32)
    by_token = np.broadcast_to(weights[:, None], KEPT.shape)[KEPT]
    for kind in (keras.losses.SparseCategoricalCrossentropy, keras.losses.BinaryCrossentropy):
        made = kind(from_logits=True, reduction=reduction)
        sparse = "Sparse" in kind.__name__
        wanted = float(made(FLAT[0] if sparse else np.eye(4)[FLAT[0]], FLAT[1], by_token))
        assert loss_of(made, TOKEN_LABELS, TOKEN_LOGITS, weights, **TOKENS) == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("name", [n for n in METRICS if TABLE[n].labels != "values"])
def test_metrics_leave_out_tokens_without_a_label(name):
    def made():
        return getattr(keras.metrics, name)(**NEEDED.get(name, {}))

    if TABLE[name].gets == "decisions":
        wanted = made()(FLAT[0], FLAT[1].argmax(-1))
    else:
        labels = FLAT[0] if TABLE[name].labels == "numbers" else np.eye(4, dtype=np.float32)[FLAT[0]]
        wanted = on_probabilities(keras.metrics, name, labels, FLAT[1], multi=False)
    config, head = tiny_config(num_labels=4), HEADS["TokenClassification"]
    (metric,) = metrics_by_output("Model", config, head, [made()], None)
    metric.update_state(TOKEN_LABELS, TOKEN_LOGITS)
    assert np.asarray(metric.result()) == pytest.approx(np.asarray(wanted), rel=2e-5)
    metric.reset_state()
    assert all(np.all(np.asarray(v) == 0) for v in metric.variables)


def test_single_labels_that_are_missing_among_several():
    labels = np.where(RNG.uniform(size=SEVERAL.shape) < 0.3, -100, SEVERAL)
    kept = labels != -100
    assert metric_of("Precision", labels, LOGITS, **MULTI) == pytest.approx(
        sk.precision_score(SEVERAL[kept], P[kept] > 0.5), rel=1e-5
    )
    assert metric_of("accuracy", labels, LOGITS, **MULTI) == pytest.approx(np.mean((P > 0.5) == SEVERAL, where=kept))
    assert loss_of("binary_crossentropy", labels, LOGITS, **MULTI) == pytest.approx(
        sk.log_loss(SEVERAL[kept], P[kept]), rel=1e-5
    )


def test_spans_leave_out_what_is_not_in_the_window():
    logits, ends = LOGITS, np.where(ONE_OR_TWO == 1, NUMBERS, 9)  # 9 lies beyond the window
    kept = ends < 4
    for labels in (ends, np.where(kept, ends, -100)):
        found = {}
        for name in ("sparse_categorical_crossentropy", "categorical_focal_crossentropy"):
            losses = losses_by_output("Model", tiny_config(), HEADS["QuestionAnswering"], name)
            found[name] = float(losses["end_logits"](labels, logits))
        assert found["sparse_categorical_crossentropy"] == pytest.approx(
            sk.log_loss(ends[kept], Q[kept], labels=range(4)), rel=1e-5
        )
        metrics = metrics_by_output("Model", tiny_config(), HEADS["QuestionAnswering"], ["accuracy"], losses)
        metrics["end_logits"][0].update_state(labels, logits)
        assert float(metrics["end_logits"][0].result()) == pytest.approx(np.mean(BEST[kept] == ends[kept]), rel=1e-5)
    with pytest.raises(ConfigError, match="F1Score cannot be computed from these scores: it needs a fixed number of"):
        metrics_by_output("Model", tiny_config(), HEADS["QuestionAnswering"], ["f1_score"], None)


# ------------------------------------------------------------------------------------- through a model


@pytest.mark.slow
def test_a_compiled_model_counts_the_same_after_saving(tmp_path):
    model = build("SequenceClassification", initializer_range=0.5, **MULTI)
    x, _ = data("SequenceClassification", **MULTI)
    labels = SEVERAL[:8]
    auc = keras.metrics.AUC(num_thresholds=20000, name="area")
    model.compile(
        "sgd",
        loss=keras.losses.binary_focal_crossentropy,
        metrics=["accuracy", keras.metrics.F1Score(threshold=0.5), auc, keras.metrics.kl_divergence],
        weighted_metrics=["Precision"],
    )
    found = model.evaluate(x, labels, batch_size=3, verbose=0, return_dict=True)
    p = expit(np.asarray(model(x).logits, np.float64))
    assert found["accuracy"] == pytest.approx(np.mean((p > 0.5) == labels), rel=1e-5)
    assert found["area"] == pytest.approx(sk.roc_auc_score(labels.ravel(), p.ravel()), rel=1e-4)
    assert found["Precision"] == pytest.approx(sk.precision_score(labels.ravel(), p.ravel() > 0.5), rel=1e-5)
    assert found["f1_score"] == pytest.approx(sk.f1_score(labels, p > 0.5, average=None), rel=1e-5)
    focal = keras.losses.BinaryFocalCrossentropy()(labels, p.astype(np.float32))
    assert found["loss"] == pytest.approx(float(focal), rel=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.evaluate(x, labels, batch_size=3, verbose=0, return_dict=True)
    assert set(again) == set(found)
    for name, value in found.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_losses_and_metrics_by_output_of_a_model():
    x, y = data("PreTraining")
    model = build("PreTraining", initializer_range=0.5)
    y["labels"][:, ::2] = -100
    model.compile(
        keras.optimizers.SGD(0.0),
        loss={"labels": "categorical_focal_crossentropy", "next_sentence_label": keras.losses.KLDivergence()},
        metrics={"next_sentence_label": ["AUC", "Recall"], "labels": "sparse_categorical_accuracy"},
    )
    history = model.fit(x, y, batch_size=8, verbose=0).history
    outputs, kept = model(x), y["labels"] != -100
    q = softmax(np.asarray(outputs.seq_relationship_logits), axis=-1)
    following = y["next_sentence_label"]
    assert history["seq_relationship_logits_AUC"][0] == pytest.approx(sk.roc_auc_score(following, q[:, 1]), rel=1e-2)
    wanted = sk.recall_score(following, q[:, 1] > 0.5)
    assert history["seq_relationship_logits_Recall"][0] == pytest.approx(wanted, rel=1e-5)
    best = np.asarray(outputs.prediction_logits).argmax(-1)
    assert history["prediction_logits_sparse_categorical_accuracy"][0] == pytest.approx(
        np.mean(best[kept] == y["labels"][kept]), rel=1e-5
    )
    wanted = sk.log_loss(following, q, labels=[0, 1])
    assert history["seq_relationship_logits_loss"][0] == pytest.approx(wanted, rel=1e-4)


# -------------------------------------------------------------------------------- what the scores mean


def test_the_loss_says_what_scores_mean_where_the_configuration_does_not():
    f1 = sk.precision_score(SEVERAL, P > 0.5, average="micro")
    found = metric_of("Precision", SEVERAL.astype(int), LOGITS, loss="binary_crossentropy", num_labels=4)
    assert found == pytest.approx(f1, rel=1e-5)
    found = metric_of("Precision", ONE_HOT, LOGITS, loss="categorical_crossentropy", num_labels=4)
    assert found == pytest.approx(sk.precision_score(ONE_HOT, Q > 0.5, average="micro"), rel=1e-5)
    assert metric_of("Precision", SEVERAL, LOGITS, num_labels=4) == pytest.approx(f1, rel=1e-5)  # as the model's loss
    with pytest.raises(ConfigError, match="Set config.problem_type to 'single_label_classification'"):
        loss_of("poisson", ONE_HOT, LOGITS, num_labels=4)


def test_one_score_is_a_logit_or_a_value_as_the_loss_says():
    score, labels = LOGITS[:, :1], ONE_OR_TWO.astype(np.float32)
    right = np.mean((score[:, 0] > 0) == labels)
    for name in ("accuracy", "binary_accuracy"):
        found = metric_of(name, labels, score, loss="binary_crossentropy", num_labels=1)
        assert found == pytest.approx(right, rel=1e-5)
    assert loss_of("binary_crossentropy", labels, score, num_labels=1) == pytest.approx(
        sk.log_loss(labels, P[:, 0]), rel=1e-5
    )
    values = RNG.normal(size=ROWS).astype(np.float32)
    assert metric_of("R2Score", values, score, num_labels=1) == pytest.approx(sk.r2_score(values, score), rel=1e-4)
    found = metric_of("mse", values, score, loss="mse", num_labels=1)
    assert found == pytest.approx(sk.mean_squared_error(values, score), rel=1e-5)
    for name in ("poisson", "categorical_crossentropy", "cosine_similarity"):
        with pytest.raises(ConfigError, match="cannot be computed from these scores: it "):
            loss_of(name, values, score, num_labels=1)


def test_crossentropy_by_the_name_that_chooses():
    own = loss_of("sparse_categorical_crossentropy", NUMBERS, LOGITS, **SINGLE)
    assert loss_of("crossentropy", NUMBERS, LOGITS, **SINGLE) == pytest.approx(own, rel=1e-5)
    assert loss_of("CrossEntropy", ONE_HOT, LOGITS, num_labels=4) == pytest.approx(own, rel=1e-5)
    several = loss_of("binary_crossentropy", SEVERAL, LOGITS, **MULTI)
    assert loss_of("ce", SEVERAL, LOGITS, **MULTI) == pytest.approx(several, rel=1e-5)


def test_numbers_that_are_no_class():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile("sgd", loss="kl_divergence")
    for wrong in (2, -1):
        with pytest.raises(InputError, match="labels must lie in 0..1, or be -100"):
            model.fit(x, np.full_like(y["labels"], wrong), verbose=0)
        labels = np.where(NUMBERS == 1, wrong, ONE_OR_TWO)
        assert np.isnan(loss_of("kl_divergence", labels, TWO)) and np.isnan(loss_of("binary_crossentropy", labels, TWO))


def test_labels_of_the_wrong_form():
    with pytest.raises(InputError, match="mean_squared_error: wanted labels of the shape of the scores, got class num"):
        loss_of("mse", NUMBERS, LOGITS, **SINGLE)
    with pytest.raises(InputError, match="wanted class numbers, got labels of the shape of the scores"):
        metric_of("sparse_categorical_accuracy", ONE_HOT, LOGITS, **SINGLE)
    with pytest.raises(ConfigError, match="Keras has no loss 'catagorical_crossentropy'.*Near: categorical_cross"):
        loss_of("catagorical_crossentropy", ONE_HOT, LOGITS, **SINGLE)


def test_objects_and_functions_of_a_user():
    given = keras.metrics.AUC(from_logits=True), keras.losses.BinaryCrossentropy(True), keras.metrics.KLDivergence()
    before = [thing.get_config() for thing in given]
    metric_of(given[0], SEVERAL, LOGITS, **MULTI)
    loss_of(given[1], SEVERAL, LOGITS, **MULTI)
    metric_of(given[2], SEVERAL, LOGITS, **MULTI)
    assert [thing.get_config() for thing in given] == before

    class Own(keras.metrics.Precision):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_true, keras.ops.sigmoid(y_pred), sample_weight)

    def binary_accuracy(labels, logits):
        return keras.ops.mean(logits, axis=-1)

    assert metric_of(binary_accuracy, SEVERAL, LOGITS, **MULTI) == pytest.approx(LOGITS.mean(), rel=1e-4)
    own = Own()
    assert metrics_by_output("Model", tiny_config(**MULTI), HEADS["SequenceClassification"], [own], None) == [own]


def test_callbacks_still_know_whether_more_is_better():
    head = HEADS["SequenceClassification"]
    auc, loss, mine = metrics_by_output("Model", tiny_config(), head, ["AUC", "binary_crossentropy", "accuracy"], None)
    assert (auc._direction, loss._direction, mine._direction) == ("up", "down", "up")

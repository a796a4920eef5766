"""Every loss and metric of Keras on logits, against scikit-learn and against Keras on probabilities."""

from __future__ import annotations

import inspect
from functools import partial

import keras
import numpy as np
import pytest
from keras.src.losses.losses import LossFunctionWrapper
from sklearn import metrics as sk

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_tf.fit.loss_table import NAMES, TABLE
from mobilebert_tf.fit.metrics import losses_by_output, metrics_by_output
from tests.keras_only.logits import (
    BEST,
    BINARY,
    LOGITS,
    LOSSES,
    METRICS,
    MULTI,
    NEEDED,
    NUMBERS,
    ONE_HOT,
    ONE_OR_TWO,
    P1,
    REFUSED,
    ROWS,
    SEVERAL,
    SINGLE,
    TWO,
    WEIGHTS,
    P,
    Q,
    loss_of,
    metric_of,
    on_probabilities,
)
from tests.tiny import tiny_config

EXPORTED = {
    name: thing
    for module in (keras.losses, keras.metrics)
    for name, thing in vars(module).items()
    if not name.startswith("_") and name not in ("get", "serialize", "deserialize", "losses", "metrics")
}
CLASSES = {name: thing for name, thing in EXPORTED.items() if inspect.isclass(thing)}


def test_the_table_has_every_loss_and_metric_of_keras():
    functions = {name for name, thing in EXPORTED.items() if inspect.isfunction(thing)}
    assert set(CLASSES) - set(TABLE) == set()
    assert functions - set(NAMES) == set()
    assert "BinaryCrossentropy" in CLASSES and "binary_crossentropy" in functions


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("config", [SINGLE, MULTI], ids=["single", "multi"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_probabilities(name, config, weights):
    sparse, multi = TABLE[name].labels == "numbers", config is MULTI
    labels = NUMBERS if sparse else SEVERAL if multi else ONE_HOT
    wanted = on_probabilities(keras.losses, name, labels, LOGITS, multi, weights)
    names = {name, *(f for f, c in NAMES.items() if c == name and hasattr(keras.losses, f))}
    for spelled in (*names, *(getattr(keras.losses, n) for n in names)):
        assert loss_of(spelled, labels, LOGITS, weights, **config) == pytest.approx(wanted, rel=2e-5), spelled


@pytest.mark.parametrize("config", [SINGLE, MULTI], ids=["single", "multi"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_those_of_probabilities(name, config):
    if TABLE[name].gets == "decisions":
        return  # compared with scikit-learn below
    multi = config is MULTI
    labels = NUMBERS if TABLE[name].labels == "numbers" else SEVERAL if multi else ONE_HOT
    for weights in (None, *(() if "IoU" in name else (WEIGHTS,))):  # an IoU counts in whole numbers
        wanted = on_probabilities(keras.metrics, name, labels, LOGITS, multi, weights)
        made = getattr(keras.metrics, name)(**NEEDED.get(name, {}))
        for spelled in (made, *([] if name in NEEDED else [name, getattr(keras.metrics, name)])):
            found = metric_of(spelled, labels, LOGITS, weights, **config)
            assert found == pytest.approx(wanted, rel=2e-5), spelled


@pytest.mark.parametrize("function", sorted(n for n in NAMES if hasattr(keras.metrics, n)))
def test_metric_functions(function):
    name = NAMES[function]
    labels = NUMBERS if TABLE[name].labels == "numbers" else SEVERAL
    if TABLE[name].refused:
        with pytest.raises(ConfigError, match=f"Model.compile: {name} cannot be computed from these scores: it "):
            metric_of(getattr(keras.metrics, function), labels, LOGITS, **MULTI)
        return
    kind = keras.metrics if hasattr(keras.metrics, name) else keras.losses
    wanted = on_probabilities(kind, name, labels, LOGITS, True)
    wrapped = keras.metrics.MeanMetricWrapper(getattr(keras.metrics, function))
    for spelled in (function, getattr(keras.metrics, function), wrapped):
        assert metric_of(spelled, labels, LOGITS, **MULTI) == pytest.approx(wanted, rel=2e-5)


FOCAL, OPTIONS = keras.losses.binary_focal_crossentropy, {"gamma": 3.0}


class FocalLoss(keras.losses.BinaryFocalCrossentropy):
    def __init__(self):
        super().__init__(gamma=3.0, from_logits=True)


class WrappedLoss(LossFunctionWrapper):
    def __init__(self):
        super().__init__(FOCAL, **OPTIONS)


class WrappedMetric(keras.metrics.MeanMetricWrapper):
    def __init__(self, function=FOCAL, **options):
        super().__init__(function, "wrapped", **(options or OPTIONS))


class CrossEntropyMetric(keras.metrics.BinaryCrossentropy):
    def __init__(self):
        super().__init__(label_smoothing=0.1)


class TopTwo(keras.metrics.SparseTopKCategoricalAccuracy):
    def __init__(self):
        super().__init__(k=2)


def size(labels, scores):
    return keras.ops.mean(keras.ops.abs(scores), axis=-1)


class WrappedOwn(keras.metrics.MeanMetricWrapper):
    def __init__(self):
        super().__init__(size)


def test_whatever_is_around_a_function_or_class_of_keras_it_is_computed_from_logits():
    wanted = float(np.mean(FOCAL(SEVERAL, P, **OPTIONS)))
    losses = [partial(FOCAL, **OPTIONS), partial(partial(FOCAL, gamma=1.0), **OPTIONS), FocalLoss(), WrappedLoss()]
    metrics = [*losses, keras.metrics.MeanMetricWrapper(losses[0]), keras.metrics.MeanMetricWrapper(losses[2])]
    for loss in losses:
        assert loss_of(loss, SEVERAL, LOGITS, **MULTI) == pytest.approx(wanted, rel=1e-5)
    for metric in [*metrics, WrappedMetric, WrappedMetric()]:
        assert metric_of(metric, SEVERAL, LOGITS, **MULTI) == pytest.approx(wanted, rel=1e-5)
    right = np.mean((P > 0.3) == SEVERAL)
    accuracy = keras.metrics.binary_accuracy
    for metric in (partial(accuracy, threshold=0.3), WrappedMetric(accuracy, threshold=0.3)):
        assert metric_of(metric, SEVERAL, LOGITS, **MULTI) == pytest.approx(right)
    smoothed = np.mean(keras.losses.binary_crossentropy(SEVERAL, P, label_smoothing=0.1))
    assert metric_of(CrossEntropyMetric(), SEVERAL, LOGITS, **MULTI) == pytest.approx(smoothed, rel=1e-5)


def test_options_of_a_partial_are_those_of_the_class():
    with pytest.raises(ConfigError, match="wanted keras.losses.BinaryFocalCrossentropy.from_logits=True., got"):
        loss_of(partial(FOCAL, from_logits=False), SEVERAL, LOGITS, **MULTI)
    with pytest.raises(ConfigError, match="BinaryFocalCrossentropy does not take these options: .*'beta'"):
        loss_of(partial(FOCAL, beta=1.0), SEVERAL, LOGITS, **MULTI)


def test_a_wrapper_around_a_users_function_gets_logits():
    for metric in (size, partial(size), WrappedOwn, WrappedOwn(), keras.metrics.MeanMetricWrapper(size)):
        assert metric_of(metric, SEVERAL, LOGITS, **MULTI) == pytest.approx(np.abs(LOGITS).mean(), rel=1e-5)


def test_an_object_for_several_outputs_is_made_anew_or_wanted_for_each():
    made = metrics_by_output("Model", tiny_config(), HEADS["QuestionAnswering"], [TopTwo()], None)
    assert [type(each[0].metric).__name__ for each in made.values()] == ["SparseTopKCategoricalAccuracy"] * 2
    with pytest.raises(ConfigError, match="WrappedOwn is to count for each output, and cannot be made anew"):
        metrics_by_output("Model", tiny_config(), HEADS["QuestionAnswering"], [WrappedOwn()], None)


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_one_number_for_a_batch_is_a_metric_too(name):
    halves = [slice(0, ROWS // 2), slice(ROWS // 2, None)]
    wanted = np.mean([getattr(keras.losses, name)()(SEVERAL[half], P[half]) for half in halves])
    for metric in (name.lower(), getattr(keras.losses, name)()):
        assert metric_of(metric, SEVERAL, LOGITS, **MULTI) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(InputError, match=f"{name.lower()}: it is one number for a whole batch"):
        metric_of(name.lower(), SEVERAL, LOGITS, WEIGHTS, **MULTI)


@pytest.mark.parametrize("name", sorted(REFUSED - {"MeanMetricWrapper"}))
def test_what_cannot_be_computed_is_refused(name):
    kind = keras.losses if hasattr(keras.losses, name) else keras.metrics
    passed = losses_by_output if kind is keras.losses else lambda *a: metrics_by_output(*a, None)
    things = [getattr(kind, name)] if name == "Loss" else [getattr(kind, name), getattr(kind, name)()]
    for thing in things:
        with pytest.raises(ConfigError, match=f"Model.compile: {name} cannot be computed from these scores: it "):
            passed("Model", tiny_config(**SINGLE), HEADS["SequenceClassification"], thing)


def jaccard(labels, found, classes):
    return np.mean(sk.jaccard_score(labels, found, average=None, labels=range(classes)))


@pytest.mark.parametrize("metric, wanted", [
    (keras.metrics.AUC(num_thresholds=20000), sk.roc_auc_score(SEVERAL.ravel(), P.ravel())),
    (keras.metrics.AUC(num_thresholds=20000, from_logits=True), sk.roc_auc_score(SEVERAL.ravel(), P.ravel())),
    (keras.metrics.AUC(num_thresholds=20000, multi_label=True, num_labels=4), sk.roc_auc_score(SEVERAL, P)),
    ("Precision", sk.precision_score(SEVERAL, P > 0.5, average="micro")),
    ("recall", sk.recall_score(SEVERAL, P > 0.5, average="micro")),
    (keras.metrics.Precision(thresholds=0.8), sk.precision_score(SEVERAL, P > 0.8, average="micro")),
    (keras.metrics.Recall(class_id=2), sk.recall_score(SEVERAL[:, 2], P[:, 2] > 0.5)),
    ("binary_accuracy", np.mean((P > 0.5) == SEVERAL)),
    ("accuracy", np.mean((P > 0.5) == SEVERAL)),
    (keras.metrics.Accuracy(), np.mean((P > 0.5) == SEVERAL)),
    (keras.metrics.F1Score(threshold=0.5), sk.f1_score(SEVERAL, P > 0.5, average=None)),
    (keras.metrics.F1Score(threshold=0.3, average="macro"), sk.f1_score(SEVERAL, P > 0.3, average="macro")),
    (keras.metrics.FBetaScore(beta=2.0, threshold=0.5, average="micro"),
     sk.fbeta_score(SEVERAL, P > 0.5, beta=2, average="micro")),
    ("binary_crossentropy", np.mean([sk.log_loss(SEVERAL[:, c], P[:, c]) for c in range(4)])),
    (keras.metrics.BinaryIoU(threshold=0.5), jaccard(SEVERAL.ravel(), (P > 0.5).ravel(), 2)),
    (keras.metrics.MeanIoU(2), jaccard(SEVERAL.ravel(), (P > 0.5).ravel(), 2)),
    ("true_positives", np.sum((P > 0.5) & (SEVERAL == 1))),
])  # fmt: skip
def test_several_labels_against_scikit_learn(metric, wanted):
    assert metric_of(metric, SEVERAL, LOGITS, **MULTI) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("metric, wanted", [
    ("accuracy", sk.accuracy_score(NUMBERS, BEST)),
    ("sparse_categorical_accuracy", sk.accuracy_score(NUMBERS, BEST)),
    ("categorical_accuracy", sk.accuracy_score(NUMBERS, BEST)),
    (keras.metrics.SparseTopKCategoricalAccuracy(2), sk.top_k_accuracy_score(NUMBERS, Q, k=2)),
    (keras.metrics.TopKCategoricalAccuracy(2), sk.top_k_accuracy_score(NUMBERS, Q, k=2)),
    ("sparse_categorical_crossentropy", sk.log_loss(NUMBERS, Q)),
    ("categorical_crossentropy", sk.log_loss(NUMBERS, Q)),
    (keras.metrics.F1Score(), sk.f1_score(NUMBERS, BEST, average=None)),
    (keras.metrics.F1Score(average="weighted"), sk.f1_score(NUMBERS, BEST, average="weighted")),
    (keras.metrics.MeanIoU(4), jaccard(NUMBERS, BEST, 4)),
    (keras.metrics.MeanIoU(4, sparse_y_pred=False), jaccard(NUMBERS, BEST, 4)),
    (keras.metrics.OneHotMeanIoU(4), jaccard(NUMBERS, BEST, 4)),
    (keras.metrics.AUC(num_thresholds=20000), sk.roc_auc_score(ONE_HOT.ravel(), Q.ravel())),
    (keras.metrics.Precision(class_id=1), sk.precision_score(NUMBERS == 1, Q[:, 1] > 0.5)),
    ("Precision", sk.precision_score(ONE_HOT, Q > 0.5, average="micro")),
])  # fmt: skip
def test_one_class_of_several_against_scikit_learn(metric, wanted):
    for config in (SINGLE, {"num_labels": 4}):
        again = metric if isinstance(metric, str) else type(metric).from_config(metric.get_config())
        assert metric_of(again, NUMBERS, LOGITS, **config) == pytest.approx(wanted, rel=1e-4)


def test_of_two_classes_the_second_is_the_positive_one():
    def found(metric):
        return metric_of(metric, ONE_OR_TWO, TWO, WEIGHTS, **BINARY)

    right = {"sample_weight": WEIGHTS, "y_true": ONE_OR_TWO}
    assert found(keras.metrics.AUC(num_thresholds=20000)) == pytest.approx(
        sk.roc_auc_score(y_score=P1, **right), rel=1e-4
    )
    assert found("Precision") == pytest.approx(sk.precision_score(y_pred=P1 > 0.5, **right), rel=1e-5)
    assert found("Recall") == pytest.approx(sk.recall_score(y_pred=P1 > 0.5, **right), rel=1e-5)
    assert found("binary_accuracy") == pytest.approx(sk.accuracy_score(y_pred=P1 > 0.5, **right), rel=1e-5)
    assert found("binary_crossentropy") == pytest.approx(sk.log_loss(ONE_OR_TWO, P1, sample_weight=WEIGHTS), rel=1e-5)
    assert found(keras.metrics.F1Score("macro")) == pytest.approx(
        sk.f1_score(y_pred=P1 > 0.5, average="macro", **right), rel=1e-5
    )
    own = loss_of("sparse_categorical_crossentropy", ONE_OR_TWO, TWO, WEIGHTS, **BINARY)
    assert loss_of("binary_crossentropy", ONE_OR_TWO, TWO, WEIGHTS, **BINARY) == pytest.approx(own, rel=1e-5)

"""Labels and weights that a loss of Keras cannot learn from: an error that names them, and no weight is changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_tf.fit.data import prepared
from tests.keras_only.fitting import (
    Batches,
    build,
    check_wrong_batches_are_refused,
    data,
    plain,
    weights_of,
)

NAN, INF = np.nan, np.inf
MULTI = {"num_labels": 3, "problem_type": "multi_label_classification"}
SINGLE = {"num_labels": 3, "problem_type": "single_label_classification"}
VALUES = {"num_labels": 3, "problem_type": "regression"}
X = data("SequenceClassification", batch=4)[0]


def rows(value, width=3):
    found = np.zeros((4, width) if width else 4, np.float32)
    found[1] = value
    return found


def own(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


REFUSED = [
    (VALUES, "mse", rows(NAN), "labels must be finite numbers, got values from nan to nan. Leave out the rows"),
    (VALUES, keras.losses.Huber, rows(INF), "labels must be finite numbers, got values from 0 to inf"),
    ({"num_labels": 1}, keras.losses.MeanAbsoluteError(), rows(NAN, 0), "labels must be finite numbers"),
    (MULTI, "binary_crossentropy", rows(NAN), "numbers from 0 to 1, or be -100 .*, for binary_crossentropy, got.*nan"),
    (MULTI, keras.losses.BinaryFocalCrossentropy, rows(2), "numbers from 0 to 1.*got values from 0 to 2"),
    (MULTI, keras.losses.BinaryCrossentropy(from_logits=True), rows(-1), "numbers from 0 to 1.*got values from -1"),
    ({"num_labels": 1}, "binary_crossentropy", rows(3, 0), "numbers from 0 to 1.*got values from 0 to 3"),
    (MULTI, "hinge", rows(NAN), "finite numbers.*got values from nan"),
    (SINGLE, "categorical_crossentropy", rows(-1), "finite numbers of at least 0.*got values from -1"),
    (SINGLE, "categorical_crossentropy", rows(3, 0).astype(int), r"must lie in 0..2.*got values from 0 to 3"),
    (SINGLE, "sparse_categorical_crossentropy", rows(3, 0).astype(int), "must lie in 0..2.*got values from 0 to 3"),
    (SINGLE, "sparse_categorical_crossentropy", rows(3, 0), r"whole numbers of classes in 0..2.*got values from 0 to"),
    (SINGLE, "sparse_categorical_crossentropy", rows(0.5, 0), r"whole numbers of classes in 0..2.*got fractions"),
    (SINGLE, "sparse_categorical_crossentropy", rows(NAN, 0), r"whole numbers of classes in 0..2.*got values from nan"),
    (SINGLE, keras.losses.KLDivergence(), rows(2), "numbers from 0 to 1.*for kl_divergence"),
]


@pytest.mark.parametrize(("config", "loss", "labels", "message"), REFUSED)
def test_targets_out_of_range_are_refused_in_arrays(config, loss, labels, message):
    model = build("SequenceClassification", **config)
    model.compile("sgd", loss=loss)
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(InputError, match=message):
            call(X, labels)
    with pytest.raises(InputError, match=message):
        model.fit(X, np.zeros_like(labels), validation_data=(X, labels), verbose=0)


@pytest.mark.parametrize(
    ("config", "loss", "labels", "message"),
    [
        (VALUES, "mse", rows(NAN), "labels must be finite numbers"),
        (MULTI, "binary_crossentropy", rows(2), "labels must be numbers from 0 to 1"),
        (SINGLE, "categorical_crossentropy", rows(3, 0).astype(int), "labels must be whole numbers of classes"),
        (MULTI, None, rows(2), "labels must be 1 for labels that hold"),
    ],
)
def test_batches_that_only_a_graph_sees(config, loss, labels, message):
    import tensorflow as tf

    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():  # whose steps may run on other machines
        model = build("SequenceClassification", **config)
        model.compile("sgd", loss=loss)
    before = weights_of(model)
    batches = tf.data.Dataset.from_tensor_slices((X, labels)).batch(4)
    with pytest.raises(InputError, match=f"a batch cannot be learned from: {message}"):
        model.fit(batches, shuffle=False, verbose=0)
    for got, wanted in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_weights_that_are_not_finite():
    model = build("SequenceClassification", **SINGLE)
    labels = np.array([0, 1, 2, 0])
    for loss in (None, "sparse_categorical_crossentropy"):
        model.compile("sgd", loss=loss)
        with pytest.raises(InputError, match="sample_weight must be finite numbers, got values from nan"):
            model.fit(X, labels, sample_weight=rows(NAN, 0))
        with pytest.raises(InputError, match="class_weight must hold finite numbers"):
            model.fit(X, labels, class_weight={0: 1.0, 1: INF})


def test_weights_of_another_shape():
    model = build("SequenceClassification", **SINGLE)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    labels = np.array([0, 1, 2, 0])
    for weights in (np.ones(3), np.ones((4, 1, 1)), np.ones((4, 3)), np.float32(1)):
        for call in (model.fit, model.train_on_batch):
            with pytest.raises(InputError, match=r"sample_weight has shape .*, wanted .4,. or .4, 1. for labels .4,."):
                call(X, labels, sample_weight=weights)
    model.train_on_batch(X, labels, np.ones((4, 1)))


def test_labels_that_can_be_learned_from_are_not_refused():
    wide = np.array([[0, 1, 0], [1, -100, 1], [0.5, 0.1, 0.9], [1, 1, 1]], np.float32)
    counts = np.array([[3, 1, 0], [0, 0, 7], [-100, -100, -100], [1, 0, 0]], np.float32)
    missing = np.array([[0, 1, 2], [NAN, 1, 2], [0, 1, 2], [3, 1, -1e3]], np.float32)
    for config, loss, labels in (
        (MULTI, "binary_crossentropy", wide),
        (SINGLE, "categorical_crossentropy", counts),
        (SINGLE, "sparse_categorical_crossentropy", np.array([2.0, 0.0, -100.0, 1.0])),
        (VALUES, "mse", np.nan_to_num(missing)),
        (VALUES, lambda y, p: own(keras.ops.nan_to_num(y), p), missing),  # the loss of a user decides
    ):
        model = build("SequenceClassification", **config)
        model.compile("sgd", loss=loss)
        x, y, _ = prepared(model, X, labels)
        assert np.isfinite(keras.ops.convert_to_numpy(model.compute_loss(x, y, model(x))))


def test_labels_of_a_batch_that_are_not_there_or_too_few():
    model = build("SequenceClassification", **SINGLE)
    model.compile("sgd", loss="sparse_categorical_crossentropy", run_eagerly=True)
    labels = np.array([0, 1, 2, 0])
    with pytest.raises(InputError, match="no labels for the loss. Pass labels, as y or among the inputs"):
        model.fit(Batches(X), verbose=0)
    with pytest.raises(InputError, match=r"labels for the rows of the scores, got labels .2,. for scores .4, 3."):
        model.compute_loss(X, labels[:2], model(X))


def test_a_wrong_number_in_a_batch_changes_no_weight():
    check_wrong_batches_are_refused()


@pytest.mark.slow
def test_steps_that_xla_compiles_look_at_values_too():
    check_wrong_batches_are_refused(jit_compile=True)


def test_loss_scales_that_keras_cannot_take_off_tables():
    model, (x, y) = build("SequenceClassification"), data("SequenceClassification")
    model.compile(keras.optimizers.Adam(loss_scale_factor=8.0))
    with pytest.raises(ConfigError, match="keras.optimizers.LossScaleOptimizer around yours does"):
        model.fit(x, plain(y), verbose=0)

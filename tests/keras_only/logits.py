"""Random logits with labels of each kind, and losses and metrics of Keras on them as `compile` makes them."""

from __future__ import annotations

import keras
import numpy as np
from scipy.special import expit, softmax

from mobilebert_core.heads import HEADS
from mobilebert_tf.fit.loss_table import TABLE
from mobilebert_tf.fit.metrics import losses_by_output, metrics_by_output
from tests.tiny import tiny_config

RNG = np.random.default_rng(0)
ROWS = 24
LOGITS = RNG.normal(0, 3, (ROWS, 4)).astype(np.float32)
TWO = RNG.normal(0, 3, (ROWS, 2)).astype(np.float32)
NUMBERS = RNG.integers(0, 4, ROWS)
ONE_OR_TWO = RNG.integers(0, 2, ROWS)
SEVERAL = RNG.integers(0, 2, (ROWS, 4)).astype(np.float32)
SEVERAL[:, 0], SEVERAL[:, 1] = 1 - SEVERAL[:, 2], SEVERAL[:, 2]  # a correlation needs two values in a row
WEIGHTS = RNG.uniform(0.5, 2, ROWS).astype(np.float32)
ONE_HOT = np.eye(4, dtype=np.float32)[NUMBERS]
SINGLE = {"problem_type": "single_label_classification", "num_labels": 4}
MULTI = {"problem_type": "multi_label_classification", "num_labels": 4}
BINARY = {"num_labels": 2}
NEEDED = {  # arguments without which Keras makes no object
    "IoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "MeanIoU": {"num_classes": 4},
    "OneHotIoU": {"num_classes": 4, "target_class_ids": [0, 2]},
    "OneHotMeanIoU": {"num_classes": 4},
    "PrecisionAtRecall": {"recall": 0.6},
    "RecallAtPrecision": {"precision": 0.6},
    "SensitivityAtSpecificity": {"specificity": 0.6},
    "SpecificityAtSensitivity": {"sensitivity": 0.6},
}
REFUSED = {name for name, row in TABLE.items() if row.refused}
LOSSES = sorted(name for name in set(TABLE) - REFUSED if hasattr(keras.losses, name))
METRICS = sorted(name for name in set(TABLE) - REFUSED if hasattr(keras.metrics, name))


P = expit(LOGITS.astype(np.float64))
Q = softmax(LOGITS.astype(np.float64), axis=-1)
P1 = softmax(TWO.astype(np.float64), axis=-1)[:, 1]
BEST = LOGITS.argmax(-1)


def loss_of(loss, labels, logits, weights=None, head="SequenceClassification", **config):
    made = losses_by_output("Model", tiny_config(**config), HEADS[head], loss)
    return float(made(labels, logits, weights))


def metric_of(metric, labels, logits, weights=None, head="SequenceClassification", loss=None, **config):
    """The metric over two batches, as training counts it."""
    config, head = tiny_config(**config), HEADS[head]
    loss = losses_by_output("Model", config, head, loss)
    (made,) = metrics_by_output("Model", config, head, [metric], loss)
    for half in (slice(0, ROWS // 2), slice(ROWS // 2, None)):
        made.update_state(labels[half], logits[half], None if weights is None else weights[half])
    return np.asarray(made.result())


def on_probabilities(kind, name, labels, logits, multi, weights=None):
    """What Keras finds from probabilities in float32, or from the scores where the table says so."""
    row = TABLE[name]
    given = logits
    if row.gets in ("probabilities", "logits"):
        sigmoid = row.activation == "sigmoid" or (row.activation is None and multi)
        given = expit(logits) if sigmoid else softmax(logits, axis=-1)
    thing = getattr(kind, name)(**NEEDED.get(name, {}))
    if kind is keras.losses:
        return float(thing(labels, given, weights))
    thing.update_state(labels, given, sample_weight=weights)
    return np.asarray(thing.result())

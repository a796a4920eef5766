"""What each loss and metric of Keras wants to be given, since the models return logits. The table is complete: a test
compares it with what `keras.losses` and `keras.metrics` export.

A label of -100 is left out by all of them. Where labels are class numbers, it is the token's or the text's; where
labels have the shape of the scores, it is the single score's for rows of `form` "elements", else the whole row's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import keras
from keras.src.losses.losses import LossFunctionWrapper  # Keras exports those derived from it


@dataclass(frozen=True)
class Row:
    """How one class of Keras, and the function of the same meaning, takes scores and labels.

    Attributes:
        gets: "logits" (the object is made with from_logits=True), "probabilities" (sigmoid or softmax before),
            "decisions" (the number of the best class; 0 or 1 for each of several labels), "scores" (as they are).
        labels: "one-hot" (the shape of the scores; class numbers are encoded), "numbers" (class numbers alone),
            "values" (the shape of the scores; class numbers are refused).
        form: "elements" (each score is a case of its own, and of two classes the second is the positive one), "rows"
            (the scores of a text or token belong together), "whole" (one number for the whole batch).
        activation: "sigmoid" or "softmax" where the formula decides; None where the problem type does.
        otherwise: the activation where neither the problem type nor the labels decide.
        function: the name of Keras's function.
        refused: why it cannot be computed from the scores of these models, and what to do; "" where it can.
        negative: False where scores of a regression, which may be negative, are refused.
        targets: the smallest and the largest label in the shape of the scores.
    """

    gets: str
    labels: str = "one-hot"
    form: str = "rows"
    activation: str | None = None
    otherwise: str | None = None
    function: str = ""
    refused: str = ""
    negative: bool = True
    targets: tuple[float, float] = (-inf, inf)


def _values(function: str = "") -> Row:
    return Row("scores", "values", function=function)


_SHARES, _COUNTS = (0, 1), (0, inf)
_BY_PROBLEM = Row("probabilities", form="elements")
_RUNNING = "it takes values, not labels and scores. Pass a metric that compares the two"
_BASE = "it is a base class. Pass one of its subclasses"

TABLE: dict[str, Row] = {
    # crossentropies
    "BinaryCrossentropy": Row(
        "logits", form="elements", activation="sigmoid", function="binary_crossentropy", targets=_SHARES
    ),
    "BinaryFocalCrossentropy": Row(
        "logits", form="elements", activation="sigmoid", function="binary_focal_crossentropy", targets=_SHARES
    ),
    "CategoricalCrossentropy": Row(
        "logits", activation="softmax", function="categorical_crossentropy", targets=_COUNTS
    ),
    "CategoricalFocalCrossentropy": Row(
        "logits", activation="softmax", function="categorical_focal_crossentropy", targets=_COUNTS
    ),
    "CategoricalGeneralizedCrossEntropy": Row(
        "probabilities", "numbers", activation="softmax", function="categorical_generalized_cross_entropy"
    ),
    "SparseCategoricalCrossentropy": Row(
        "logits", "numbers", activation="softmax", function="sparse_categorical_crossentropy"
    ),
    # between probabilities
    "Dice": Row("probabilities", form="whole", function="dice", targets=_SHARES),
    "KLDivergence": Row("probabilities", otherwise="softmax", function="kl_divergence", targets=_SHARES),
    "MeanSquaredLogarithmicError": Row("probabilities", function="mean_squared_logarithmic_error"),
    "Poisson": Row("probabilities", function="poisson", negative=False, targets=_COUNTS),
    "Tversky": Row("probabilities", form="whole", function="tversky", targets=_SHARES),
    # margins, made for any number
    "CategoricalHinge": Row("scores", activation="softmax", function="categorical_hinge"),
    "Hinge": Row("scores", activation="sigmoid", function="hinge"),
    "SquaredHinge": Row("scores", activation="sigmoid", function="squared_hinge"),
    # values against values
    "ConcordanceCorrelation": _values("concordance_correlation"),
    "CosineSimilarity": _values("cosine_similarity"),
    "Huber": _values("huber"),
    "LogCosh": _values("log_cosh"),
    "LogCoshError": _values(),
    "MeanAbsoluteError": _values("mean_absolute_error"),
    "MeanAbsolutePercentageError": _values("mean_absolute_percentage_error"),
    "MeanSquaredError": _values("mean_squared_error"),
    "PearsonCorrelation": _values("pearson_correlation"),
    "R2Score": _values(),
    "RootMeanSquaredError": _values(),
    # counts of right and wrong
    "Accuracy": Row("decisions", "numbers", "elements"),
    "BinaryAccuracy": replace(_BY_PROBLEM, function="binary_accuracy"),
    "CategoricalAccuracy": Row("scores", function="categorical_accuracy"),
    "SparseCategoricalAccuracy": Row("scores", "numbers", function="sparse_categorical_accuracy"),
    "SparseTopKCategoricalAccuracy": Row("scores", "numbers", function="sparse_top_k_categorical_accuracy"),
    "TopKCategoricalAccuracy": Row("scores", function="top_k_categorical_accuracy"),
    "AUC": _BY_PROBLEM,
    "F1Score": Row("probabilities"),
    "FBetaScore": Row("probabilities"),
    "FalseNegatives": _BY_PROBLEM,
    "FalsePositives": _BY_PROBLEM,
    "Precision": _BY_PROBLEM,
    "PrecisionAtRecall": _BY_PROBLEM,
    "Recall": _BY_PROBLEM,
    "RecallAtPrecision": _BY_PROBLEM,
    "SensitivityAtSpecificity": _BY_PROBLEM,
    "SpecificityAtSensitivity": _BY_PROBLEM,
    "TrueNegatives": _BY_PROBLEM,
    "TruePositives": _BY_PROBLEM,
    "BinaryIoU": _BY_PROBLEM,
    "IoU": Row("decisions", "numbers", "elements"),
    "MeanIoU": Row("decisions", "numbers", "elements"),
    "OneHotIoU": Row("scores"),
    "OneHotMeanIoU": Row("scores"),
    # not for the scores of these models
    "CTC": Row(
        "scores",
        function="ctc",
        refused="it aligns a sequence of labels with a longer one of scores, and class 0 is its blank. Pass a function "
        "of your own that calls keras.losses.ctc",
    ),
    "Circle": Row(
        "scores",
        function="circle",
        refused="it compares embeddings, not the scores of classes. Pass sparse_categorical_crossentropy, or put the "
        "bare model under a layer of your own",
    ),
    "Mean": Row("scores", refused=_RUNNING),
    "Sum": Row("scores", refused=_RUNNING),
    "MeanMetricWrapper": Row("scores", refused=_BASE),  # around a function of Keras the function's row holds
    "Metric": Row("scores", refused=_BASE),
    "Loss": Row("scores", refused=_BASE),
}
ALONG_SCORES = ("ConcordanceCorrelation", "CosineSimilarity", "PearsonCorrelation")  # nothing where there is one score
NAMES = {row.function: name for name, row in TABLE.items() if row.function}  # class by function


_COMPUTES = ("call", "__call__", "update_state", "result")  # methods of losses and metrics


def name_of(part: Any) -> str | None:
    """The name in the table of an object, class or function of Keras; None for what is the user's own.

    A class derived from one of Keras is that one, unless it computes by itself; so is what `function_in` finds.
    """
    if (kind := class_of(part)) is not None:
        return kind.__name__
    found = function_in(part)
    return None if found is None else NAMES[found[0].__name__]


def class_of(part: Any) -> Any:
    """The class in the table that an object or class is or computes as; None where there is none."""
    for kind in (part if isinstance(part, type) else type(part)).__mro__:
        name = kind.__name__
        if kind is keras.metrics.MeanMetricWrapper and kind is not part:
            return None  # what it computes is the function's
        if name in TABLE and any(getattr(module, name, None) is kind for module in (keras.losses, keras.metrics)):
            return kind
        if any(method in vars(kind) for method in _COMPUTES):
            return None
    return None


def function_in(part: Any) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """The function of Keras in the table that something comes down to, and the options that it is called with.

    That is the function itself, a `functools.partial` of it, and an object of one of Keras's two wrappers around
    functions, or of a class derived from them that does not compute by itself. None where there is none.
    """
    options: dict[str, Any] = {}
    while not getattr(part, "__name__", None):
        if isinstance(part, partial) and not part.args:
            part, own = part.func, part.keywords
        elif isinstance(part, LossFunctionWrapper | keras.metrics.MeanMetricWrapper) and _is_called_as_wrapped(part):
            part, own = getattr(part, "fn", None) or part._fn, part._fn_kwargs
        else:
            return None
        options = {**own, **options}
    name = part.__name__
    known = name in NAMES and any(getattr(module, name, None) is part for module in (keras.losses, keras.metrics))
    return (part, options) if known else None


def _is_called_as_wrapped(part: Any) -> bool:
    for kind in type(part).__mro__:
        if kind in (LossFunctionWrapper, keras.metrics.MeanMetricWrapper):
            return True
        if any(method in vars(kind) for method in _COMPUTES):
            return False
    return False


def row_of(part: Any) -> Row:
    """The row of an object of Keras, as its own options make it."""

    def option(name: str) -> Any:
        return getattr(part, name, None)

    name = name_of(part)
    assert name is not None  # the caller has asked
    row = TABLE[name]
    if name in ("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"):
        gets = "decisions" if option("sparse_y_pred") else "scores"
        labels = "numbers" if option("sparse_y_true") else "one-hot"
        return replace(row, gets=gets, labels=labels, form="elements" if gets == "decisions" else "rows")
    if row.form == "elements" and (
        option("class_id") is not None or option("top_k") is not None or option("multi_label")
        or option("label_weights") is not None
    ):  # fmt: skip
        return replace(row, form="rows")
    if name in ("F1Score", "FBetaScore") and option("threshold") is None:
        return replace(row, activation="softmax")  # only the largest counts; sigmoids may be equal where logits are not
    config = part.get_config()
    if row.form == "whole" and config.get("axis") is not None:
        return replace(row, form="rows")
    if config.get("from_sorted_ids") or getattr(part, "_fn_kwargs", {}).get("from_sorted_ids"):
        return replace(row, refused="with from_sorted_ids it takes numbers of classes. Pass it without")
    return row

"""Scores of predictions, by the libraries that define them. They are imported when a score is asked for.

N examples, C labels. What is undefined is 0: a correlation with constants, the F1 of a class without any gold or
predicted example. No score warns.
"""

from __future__ import annotations

import re
import string
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ...errors import BackendMissingError, InputError


@dataclass(frozen=True)
class Library:
    """A module with scores, and the package that installs it."""

    module: str
    package: str

    def load(self) -> Any:
        """The module.

        Raises:
            BackendMissingError: when it is not installed.
        """
        try:
            return import_module(self.module)
        except ImportError as e:
            raise BackendMissingError(
                f"scores need {self.package}, which is not installed ({e}). Install it: pip install "
                "'mobilebert[train]'."
            ) from e


SCIKIT_LEARN = Library("sklearn.metrics", "scikit-learn")
SCIPY = Library("scipy.stats", "scipy")
SEQEVAL = Library("seqeval.metrics.sequence_labeling", "seqeval")


def single_label(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """`accuracy`, `f1_micro`, `f1_macro`, `matthews` of class numbers (N,).

    `f1_macro` is the mean over the classes that occur, in gold or predicted.
    """
    metrics = SCIKIT_LEARN.load()
    one_class = len(np.union1d(predicted, gold)) == 1  # where the coefficient is undefined, and scikit-learn warns
    return {
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
        "f1_micro": float(metrics.f1_score(gold, predicted, average="micro", zero_division=0)),
        "f1_macro": float(metrics.f1_score(gold, predicted, average="macro", zero_division=0)),
        "matthews": 0.0 if one_class else float(metrics.matthews_corrcoef(gold, predicted)),
    }


def positive_f1(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """`f1` of the class with number 1 among two, of class numbers (N,): as GLUE scores MRPC and QQP."""
    score = SCIKIT_LEARN.load().f1_score
    return {"f1": float(score(gold, predicted, labels=[1], average="micro", zero_division=0))}


def multi_label(logits: np.ndarray, gold: np.ndarray, thresholds: np.ndarray | float = 0.0) -> dict[str, float]:
    """`f1_micro`, `f1_macro`, `subset_accuracy` of logits (N, C) against gold 0 and 1 (N, C).

    A label is predicted where its logit exceeds the threshold, one for all or one each (C,). `f1_macro` is the mean
    over the labels that occur, in gold or predicted; `subset_accuracy` the share of rows right in all labels.
    """
    metrics = SCIKIT_LEARN.load()
    # A last label that never occurs: of one column alone scikit-learn would read two classes.
    gold, predicted = (np.pad(np.asarray(a, np.int8), ((0, 0), (0, 1))) for a in (gold, logits > thresholds))
    occurring = np.flatnonzero((gold | predicted).any(axis=0))
    score = metrics.f1_score
    return {
        "f1_micro": float(score(gold, predicted, average="micro", zero_division=0)),
        "f1_macro": float(score(gold, predicted, average="macro", labels=occurring, zero_division=0))
        if len(occurring)
        else 0.0,
        "subset_accuracy": float(metrics.accuracy_score(gold, predicted)),
    }


def most_frequent_share(labels: Iterable[int]) -> float:
    """Of the label that is there most often: the accuracy of always answering it."""
    counts = Counter(labels)
    return max(counts.values()) / counts.total()


def regression(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """`pearson`, `spearman`, `mse` of numbers (N,)."""
    stats = SCIPY.load()
    found = {}
    for name, correlation in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        value = np.nan
        if len(gold) > 1 and np.ptp(predicted) > 0 and np.ptp(gold) > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers that are constant but for rounding
                value = correlation(predicted, gold)[0]
        found[name] = float(value) if np.isfinite(value) else 0.0
    with np.errstate(over="ignore"):
        return found | {"mse": float(np.mean((predicted - gold) ** 2))}


def entities(predicted: list[list[str]], gold: list[list[str]]) -> dict[str, float]:
    """`precision`, `recall`, `f1` of entities in sentences of tags, B- and I- and also E- and S-, by CoNLL's rules."""
    found = SEQEVAL.load().precision_recall_fscore_support(gold, predicted, average="micro", zero_division=0)
    return {name: float(value) for name, value in zip(("precision", "recall", "f1"), found[:3], strict=True)}


# ------------------------------------------------------------------------------------------- answers to questions

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalized_answer(text: str) -> list[str]:
    """The words of an answer in lower case, without ASCII punctuation and English articles (SQuAD's evaluation)."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def squad(predicted: Sequence[str], gold: Sequence[Sequence[str]], version: str | None = None) -> dict[str, float]:
    """`exact_match` and `f1` in percent, by SQuAD's evaluation.

    Of several right answers the nearest counts. No right answer at all means that "" is right, and then, or for a
    prediction without words, F1 is 1 or 0.

    Args:
        version: "1.1" or "2.0" of the official script: in 1.1 two sides without words have an F1 of 0, in 2.0 right
            answers without words are left out. None does neither, as torchmetrics.
    """
    exact, overlap = squad_rows(predicted, gold, version)
    return {"exact_match": 100 * float(exact.mean()), "f1": 100 * float(overlap.mean())}


def squad_rows(
    predicted: Sequence[str], gold: Sequence[Sequence[str]], version: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 (N,), both from 0 to 1, of each answer; see `squad`."""
    exact, overlap = [], []
    for text, answers in zip(predicted, gold, strict=True):
        ours, rights = normalized_answer(text), [normalized_answer(answer) for answer in answers]
        if version == "2.0":
            rights = [right for right in rights if right]
        rights = rights or [[]]
        exact.append(max(ours == right for right in rights))
        overlap.append(max(_f1(ours, right) if ours or version != "1.1" else 0.0 for right in rights))
    return np.array(exact, np.float64), np.array(overlap, np.float64)


def best_of_thresholds(
    predicted: Sequence[str], gold: Sequence[Sequence[str]], null_differences: Sequence[float]
) -> dict[str, float]:
    """`best_exact`, `best_f1` in percent, and the threshold of each: as find_best_thresh of SQuAD 2.0's script.

    A question is answered where its null difference, the score of no answer less that of the answer, is at most the
    threshold. `predicted` are the answers without a threshold.
    """
    scores = dict(zip(("exact", "f1"), squad_rows(predicted, gold, "2.0"), strict=True))
    has_answer = np.array([bool(answers) for answers in gold])
    wrong = np.where([bool(text) for text in predicted], -1.0, 0.0)
    order = np.argsort(null_differences, kind="stable")
    found = {}
    for name, each in scores.items():
        steps = np.where(has_answer, each, wrong)[order]
        totals = np.cumsum([(~has_answer).sum(), *steps])[1:]  # added in the order of the script
        best = int(totals.argmax())
        improves = totals[best] > (~has_answer).sum()
        found[f"best_{name}"] = 100 * float(max(totals[best], (~has_answer).sum())) / len(order)
        found[f"best_{name}_thresh"] = float(null_differences[order[best]]) if improves else 0.0
    return found


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))


# ------------------------------------------------------------------------------------------------- thresholds


def tuned_thresholds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each label the threshold (C,), in float64, whose F1 on these logits (N, C) and labels 0 and 1 (N, C) is best.

    A label is predicted where its logit exceeds the threshold, which lies in the middle between neighbouring scores.
    Of thresholds with equal F1 the highest is taken: it predicts least. Where all rows are to be predicted it is 0 or
    just below the smallest logit; for a label without a positive row, 0 or the largest logit, whichever keeps it
    from being predicted.

    Raises:
        InputError: for shapes that differ, no rows, logits that are not finite or labels besides 0 and 1.
    """
    scores, gold = np.asarray(logits, np.float64), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != gold.shape or not len(scores):
        raise InputError(
            f"tuned_thresholds: wanted logits and labels of one shape (N, C), at least one row, got {scores.shape} "
            f"and {gold.shape}."
        )
    if not np.isfinite(scores).all() or not np.isin(gold, (0, 1)).all():
        raise InputError("tuned_thresholds: wanted finite logits and labels of 0 and 1, got others.")
    order = np.argsort(-scores, axis=0, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=0)  # (N, C), highest first
    hits = np.cumsum(np.take_along_axis(gold, order, axis=0), axis=0, dtype=np.int64)
    positives = hits[-1]  # (C,)
    count = np.arange(1, len(scores) + 1)[:, None]
    f1 = 2 * hits / (count + positives)  # of predicting the `count` highest
    after = np.concatenate([sorted_scores[1:], np.full((1, scores.shape[1]), -np.inf)])
    f1[sorted_scores == after] = -1.0  # equal scores cannot be separated
    best = np.argmax(f1, axis=0)[None]  # the first of the best ones
    above, below = (np.take_along_axis(a, best, axis=0)[0] for a in (sorted_scores, after))
    lowest = np.minimum(0.0, np.nextafter(above, -np.inf))
    with np.errstate(invalid="ignore"):  # minus infinity below the last score
        middle = above / 2 + below / 2
    middle = np.where(middle < above, middle, below)  # neighbours without a number between them
    middle = np.where(np.isfinite(below), middle, lowest)
    return np.where(positives > 0, middle, np.maximum(0.0, sorted_scores[0]))

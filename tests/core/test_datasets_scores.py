"""Outputs to scores: right answers give full marks, what is undefined is 0, and no score is silently wrong."""

from __future__ import annotations

import string
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_core import BackendMissingError, InputError
from mobilebert_core.training.tasks import metrics
from tests.core.test_arrows import loaded_by

# ---------------------------------------------------------------------------------------------------- classification


def test_single_label():
    gold, predicted = np.array([0, 1, 2, 2, 1, 4]), np.array([0, 1, 1, 2, 1, 0])
    scores = metrics.single_label(predicted, gold)
    assert scores["accuracy"] == scores["f1_micro"] == pytest.approx(4 / 6)
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 4 / 5 + 2 / 3 + 0) / 4)  # class 3 never occurs
    assert scores["matthews"] == pytest.approx((4 * 6 - 10) / ((36 - 14) * (36 - 10)) ** 0.5)


@pytest.mark.parametrize(
    ("predicted", "gold", "wanted"),
    [
        ([1, 1], [1, 1], (1, 1, 0)),
        ([1, 1], [0, 0], (0, 0, 0)),
        ([1, 1, 1], [1, 0, 1], (2 / 3, 0.4, 0)),
        ([0], [0], (1, 1, 0)),
    ],
)
def test_single_label_of_one_class(predicted, gold, wanted):
    found = metrics.single_label(np.array(predicted), np.array(gold))
    assert (found["accuracy"], found["f1_macro"], found["matthews"]) == pytest.approx(wanted)


def test_multi_label():
    gold = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    logits = np.array([[2.0, -1, -1, -1], [-0.5, 0.1, 3, -1], [0, -1, -1, -1]])  # 0 is not above the threshold
    found = metrics.multi_label(logits, gold)
    assert found["subset_accuracy"] == pytest.approx(2 / 3)
    assert found["f1_micro"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)  # the last label occurs nowhere
    tuned = metrics.multi_label(logits, gold, np.array([-1, 0, 3, 0]))
    assert tuned == pytest.approx({"f1_micro": 6 / 7, "f1_macro": (4 / 5 + 1) / 2, "subset_accuracy": 2 / 3})


def test_multi_label_without_anything_and_of_one_label():
    nothing = metrics.multi_label(np.full((3, 2), -1.0), np.zeros((3, 2)))
    assert nothing == {"f1_micro": 0, "f1_macro": 0, "subset_accuracy": 1}
    one = metrics.multi_label(np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([[1], [0], [0], [0]]))
    assert one == pytest.approx({"f1_micro": 2 / 3, "f1_macro": 2 / 3, "subset_accuracy": 3 / 4})


def test_regression():
    gold, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 100.0, 1000.0, 1e4])
    found = metrics.regression(predicted, gold)
    assert found["spearman"] == pytest.approx(1) and 0.8 < found["pearson"] < 0.9
    assert metrics.regression(gold + 2, gold) == pytest.approx({"pearson": 1, "spearman": 1, "mse": 4})


@pytest.mark.parametrize("predicted", [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0 + 5e-16], [1e300, -1e300, 1e300]])
def test_correlation_that_is_undefined_is_none(predicted):
    found = metrics.regression(np.array(predicted), np.array([1.0, 1.0, 1.0]))
    assert (found["pearson"], found["spearman"]) == (0, 0)
    assert metrics.regression(np.array(predicted[:1]), np.array([1.0]))["pearson"] == 0


def test_correlation_with_almost_constant_numbers_does_not_warn():
    almost = np.array([1.0, 1.0, 1.0, 1 + 2**-52])
    assert np.isfinite(metrics.regression(almost, np.arange(4.0))["pearson"])


def test_entities():
    gold = [["B-x", "I-x", "O", "B-y"], ["O", "B-x"]]
    predicted = [["B-x", "I-x", "O", "B-x"], ["O", "O"]]
    assert metrics.entities(predicted, gold) == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 0.4})
    assert metrics.entities([["O"]], [["O"]]) == {"precision": 0, "recall": 0, "f1": 0}


def test_a_library_that_is_not_installed(monkeypatch):
    one = np.array([1.0])
    for module, package, call in (
        ("sklearn.metrics", "scikit-learn", lambda: metrics.single_label(one, one)),
        ("sklearn.metrics", "scikit-learn", lambda: metrics.multi_label(one[None], one[None])),
        ("scipy.stats", "scipy", lambda: metrics.regression(one, one)),
        ("seqeval.metrics.sequence_labeling", "seqeval", lambda: metrics.entities([["O"]], [["O"]])),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(BackendMissingError, match=rf"scores need {package}, .*pip install 'mobilebert\[train\]'"):
            call()


def test_scores_load_no_framework():
    call = "import numpy as np; from mobilebert_core.datasets import reading; a = np.arange(3)"
    call += "; from mobilebert_core.training.tasks import metrics as m, table"
    calls = (
        "m.single_label(a, a); m.multi_label(a[None], a[None] > 1); m.regression(a, a); m.entities([['O']], [['O']])"
    )
    assert loaded_by(f"{call}; {calls}") == set()


# ----------------------------------------------------------------------------------------------------------- answers

HARD = [
    ("The cat", ["cat"]), ("a an the", ["The"]), ("", [""]), ("", ["the"]), ("x", [""]), ("Theatre", ["atre"]),
    ("U.S.A.", ["USA"]), ("$1,000", ["1000 dollars"]), ("well-known man", ["well known man"]), ("Ünï the Ö", ["ünï ö"]),
    ("a\u00a0b", ["b"]), ("the\tcat  sat", ["cat sat", "dog"]), ("“quoted”", ["quoted"]), ("cat cat a", ["cat the b"]),
    ("İstanbul", ["i̇stanbul"]), ("½ an apple", ["½ apple"]), ("don't", ["dont", "do not"]), ("\uff41 b", ["a b"]),
    ("a_the", ["athe"]), ("cat cat dog", ["cat dog dog"]),
]  # fmt: skip


def reference(predicted, gold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised while torchmetrics is imported
        from torchmetrics.functional.text import squad as theirs

    found = theirs(
        [{"id": str(i), "prediction_text": text} for i, text in enumerate(predicted)],
        [{"id": str(i), "answers": {"text": list(each)}} for i, each in enumerate(gold)],
    )
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize(("predicted", "gold"), HARD)
def test_squad_is_that_of_torchmetrics(predicted, gold):
    assert metrics.squad([predicted], [gold]) == pytest.approx(reference([predicted], [gold]), abs=1e-4)


@given(
    st.lists(
        st.tuples(*[st.text(f"aAtheTHE n.,'-_$ \u00a0é{string.punctuation}", max_size=12)] * 3), min_size=1, max_size=5
    )
)
def test_squad_is_that_of_torchmetrics_on_any_text(rows):
    predicted, gold = [row[0] for row in rows], [row[1:] for row in rows]
    assert metrics.squad(predicted, gold) == pytest.approx(reference(predicted, gold), abs=1e-3)


def test_squad_without_an_answer():
    assert metrics.squad(["", "cat"], [[], []]) == {"exact_match": 50, "f1": 50}


def test_squad_of_each_version_of_the_official_script():
    both_empty = ["the"], [["a", "an"]]
    assert metrics.squad(*both_empty, "1.1") == {"exact_match": 100, "f1": 0}  # num_same == 0: return 0
    assert metrics.squad(*both_empty, "2.0") == {"exact_match": 100, "f1": 100}
    one_is_empty = ["the"], [["a", "cat"]]  # 2.0 leaves "a" out
    assert metrics.squad(*one_is_empty, "1.1") == {"exact_match": 100, "f1": 0}
    assert metrics.squad(*one_is_empty, "2.0") == {"exact_match": 0, "f1": 0}
    assert metrics.squad([""], [[]], "2.0") == {"exact_match": 100, "f1": 100}


def official_best_thresh(predictions, scores, null, has_answer):
    """find_best_thresh of evaluate-v2.0.py, with lists in place of dictionaries by question."""
    current = best = sum(not each for each in has_answer)
    threshold = 0.0
    for place in sorted(range(len(null)), key=lambda each: null[each]):
        current += scores[place] if has_answer[place] else -1 if predictions[place] else 0
        if current > best:
            best, threshold = current, null[place]
    return 100.0 * best / len(scores), threshold


def test_best_thresholds_are_those_of_the_official_script():
    rng = np.random.default_rng(0)
    words = ["the cat", "cat", "a dog", "dog sat", "the", ""]
    for size in [1, 2, 9] * 60:
        predicted = [str(word) for word in rng.choice(words, size)]
        gold = [[str(word) for word in rng.choice(words[:5], rng.integers(0, 3))] for _ in range(size)]
        null = [float(value) for value in rng.integers(-3, 4, size)]
        found = metrics.best_of_thresholds(predicted, gold, null)
        exact, f1 = metrics.squad_rows(predicted, gold, "2.0")
        for name, scores in (("exact", exact), ("f1", f1)):
            best, threshold = official_best_thresh(predicted, scores, null, [*map(bool, gold)])
            assert found[f"best_{name}"] == pytest.approx(best, abs=1e-9)
            assert found[f"best_{name}_thresh"] == threshold


def test_f1_of_the_positive_class_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        gold, predicted = rng.integers(0, 2, size), rng.integers(0, 2, size)
        assert metrics.positive_f1(predicted, gold)["f1"] == f1_score(gold, predicted, zero_division=0)
    assert metrics.positive_f1(np.zeros(3, int), np.zeros(3, int)) == {"f1": 0}


# -------------------------------------------------------------------------------------------------------- thresholds


def best_by_search(scores, gold):
    """The best F1 of all thresholds, by trying each."""
    tried = [np.inf, -np.inf, *scores]
    found = [(scores > each, gold) for each in tried]
    return max(2 * (p & (g == 1)).sum() / max(1, p.sum() + g.sum()) for p, g in found)


@given(st.integers(0, 10**6), st.integers(1, 30), st.booleans())
def test_tuned_thresholds_are_the_best_there_are(seed, rows, ties):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rows, 4)) if not ties else rng.integers(-2, 3, (rows, 4)).astype(float)
    gold = rng.integers(0, 2, (rows, 4)) * (rng.random(4) < 0.8)
    thresholds = metrics.tuned_thresholds(scores, gold)
    assert thresholds.shape == (4,) and np.isfinite(thresholds).all()
    for c in range(4):
        predicted = scores[:, c] > thresholds[c]
        f1 = 2 * (predicted & (gold[:, c] == 1)).sum() / max(1, predicted.sum() + gold[:, c].sum())
        assert f1 == pytest.approx(best_by_search(scores[:, c], gold[:, c]))
        assert gold[:, c].any() or not predicted.any()


@pytest.mark.parametrize(
    ("scores", "gold", "threshold"),
    [
        ([3, 1, -1, -2], [1, 1, 0, 0], 0),  # the middle between neighbours
        ([-3, -3.5, -6], [1, 0, 0], -3.25),  # of a rare label whose logits are all low
        ([4, 3, 2, 1], [1, 0, 0, 1], 3.5),  # F1 2/3 for one predicted and for four: the highest threshold
        ([2, 2, 1], [1, 0, 0], 1.5),  # equal scores go together
        ([2, 1], [1, 1], 0),  # all are right: nothing to learn about a threshold
        ([-2, -1], [1, 1], np.nextafter(-2, -3)),
        ([-2, -1], [0, 0], 0),
        ([7, -1], [0, 0], 7),
        ([np.nextafter(1, 2), 1], [1, 0], 1),  # no number lies between
    ],
)
def test_a_tuned_threshold(scores, gold, threshold):
    found = metrics.tuned_thresholds(np.array(scores)[:, None], np.array(gold)[:, None])
    assert found.tolist() == [threshold]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"one shape \(N, C\), at least one row, got \(2, 3\) and \(3, 2\)"),
        (np.zeros(2), np.zeros(2), r"got \(2,\) and \(2,\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), r"got \(0, 2\)"),
        (np.full((1, 1), np.nan), np.zeros((1, 1)), "wanted finite logits and labels of 0 and 1"),
        (np.zeros((1, 1)), np.full((1, 1), 2), "wanted finite logits and labels of 0 and 1"),
    ],
)
def test_thresholds_of_nonsense(logits, labels, message):
    with pytest.raises(InputError, match=message):
        metrics.tuned_thresholds(logits, labels)

"""What words tell without a model of language, beside which models are measured: TF-IDF and logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


def word_features() -> TfidfVectorizer:
    """Of words and pairs of words that stand in two texts at least."""
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def several_labels() -> OneVsRestClassifier:
    """A classifier for texts with several labels or none."""
    return OneVsRestClassifier(LogisticRegression(solver="liblinear", class_weight="balanced"))


def logits_of(classifier: OneVsRestClassifier, features: Any) -> np.ndarray:
    """Logits (N, C) of the probabilities of each label."""
    probabilities = classifier.predict_proba(features).clip(1e-6, 1 - 1e-6)
    return np.log(probabilities / (1 - probabilities))

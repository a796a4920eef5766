"""The Auto classes, for code written with these names: each gives the models of one head.

Twin: mobilebert_torch/auto.py.
"""

from __future__ import annotations

from mobilebert_core.auto_classes import auto_class

from .heads import (
    TFMobileBertForMaskedLM,
    TFMobileBertForMultipleChoice,
    TFMobileBertForNextSentencePrediction,
    TFMobileBertForPreTraining,
    TFMobileBertForQuestionAnswering,
    TFMobileBertForSequenceClassification,
    TFMobileBertForTokenClassification,
)
from .modeling import TFMobileBertModel

TFAutoModel = auto_class(TFMobileBertModel, __name__)
TFAutoModelForPreTraining = auto_class(TFMobileBertForPreTraining, __name__)
TFAutoModelForMaskedLM = auto_class(TFMobileBertForMaskedLM, __name__)
TFAutoModelForNextSentencePrediction = auto_class(TFMobileBertForNextSentencePrediction, __name__)
TFAutoModelForSequenceClassification = auto_class(TFMobileBertForSequenceClassification, __name__)
TFAutoModelForQuestionAnswering = auto_class(TFMobileBertForQuestionAnswering, __name__)
TFAutoModelForMultipleChoice = auto_class(TFMobileBertForMultipleChoice, __name__)
TFAutoModelForTokenClassification = auto_class(TFMobileBertForTokenClassification, __name__)

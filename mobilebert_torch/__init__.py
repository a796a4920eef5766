"""MobileBERT for PyTorch. Names and behaviour follow the MobileBERT page of transformers 4.37.2."""

from mobilebert_core.config import MobileBertConfig

from .heads import (
    MODEL_CLASSES,
    MobileBertForMaskedLM,
    MobileBertForMultipleChoice,
    MobileBertForNextSentencePrediction,
    MobileBertForPreTraining,
    MobileBertForQuestionAnswering,
    MobileBertForSequenceClassification,
    MobileBertForTokenClassification,
)
from .modeling import MobileBertLayer, MobileBertModel
from .outputs import register as _register_outputs
from .pretrained import MobileBertPreTrainedModel

_register_outputs()

__all__ = [
    "MODEL_CLASSES",
    "MobileBertConfig",
    "MobileBertForMaskedLM",
    "MobileBertForMultipleChoice",
    "MobileBertForNextSentencePrediction",
    "MobileBertForPreTraining",
    "MobileBertForQuestionAnswering",
    "MobileBertForSequenceClassification",
    "MobileBertForTokenClassification",
    "MobileBertLayer",
    "MobileBertModel",
    "MobileBertPreTrainedModel",
]

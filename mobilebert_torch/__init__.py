"""MobileBERT for PyTorch. Names and behaviour follow the MobileBERT page of transformers 4.37.2."""

from __future__ import annotations

from mobilebert_core.errors import BackendMissingError

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as e:
    raise BackendMissingError(
        "mobilebert_torch needs PyTorch, which is not installed. Install it with pip install 'mobilebert[torch]'."
    ) from e

from mobilebert_core.configuration.auto_config import AutoConfig
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.tokenization import MobileBertTokenizer
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast

from .auto import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    register_with_transformers,
)
from .folding import fold
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
from .schedules import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

_register_outputs()

__all__ = [
    "MODEL_CLASSES",
    "AutoConfig",
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
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
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "fold",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "register_with_transformers",
]

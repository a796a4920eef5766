"""MobileBERT for Keras 3. Names and behaviour follow the MobileBERT page of transformers 4.37.2.

TensorFlow is the backend that everything is promised on; JAX and PyTorch run the models, `fit` and saving.
"""

from __future__ import annotations

from mobilebert_core.errors import BackendMissingError

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as e:
    raise BackendMissingError(
        f"mobilebert_tf needs Keras 3 and its backend, but {e.name!r} is not installed. Install both with "
        "pip install 'mobilebert[tf]', or set KERAS_BACKEND to a backend that is installed."
    ) from e

from mobilebert_core.configuration.auto_config import AutoConfig
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.outputs import MobileBertForPreTrainingOutput as TFMobileBertForPreTrainingOutput
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.tokenization import MobileBertTokenizer
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast

from .auto import (
    TFAutoModel,
    TFAutoModelForMaskedLM,
    TFAutoModelForMultipleChoice,
    TFAutoModelForNextSentencePrediction,
    TFAutoModelForPreTraining,
    TFAutoModelForQuestionAnswering,
    TFAutoModelForSequenceClassification,
    TFAutoModelForTokenClassification,
)
from .fit.metrics import MaskedAccuracy
from .fit.optimization import FusedAdam, FusedAdamW
from .fit.resuming import ResumeTraining
from .fit.text_data import TextPreprocessor, text_dataset
from .folding import fold
from .heads import (
    MODEL_CLASSES,
    TFMobileBertForMaskedLM,
    TFMobileBertForMultipleChoice,
    TFMobileBertForNextSentencePrediction,
    TFMobileBertForPreTraining,
    TFMobileBertForQuestionAnswering,
    TFMobileBertForSequenceClassification,
    TFMobileBertForTokenClassification,
)
from .modeling import TFMobileBertLayer, TFMobileBertMainLayer, TFMobileBertModel
from .outputs import register as _register_outputs
from .pretrained import TFMobileBertPreTrainedModel

_register_outputs()

__all__ = [
    "MODEL_CLASSES",
    "AutoConfig",
    "AutoTokenizer",
    "FusedAdam",
    "FusedAdamW",
    "MaskedAccuracy",
    "MobileBertConfig",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "ResumeTraining",
    "TFAutoModel",
    "TFAutoModelForMaskedLM",
    "TFAutoModelForMultipleChoice",
    "TFAutoModelForNextSentencePrediction",
    "TFAutoModelForPreTraining",
    "TFAutoModelForQuestionAnswering",
    "TFAutoModelForSequenceClassification",
    "TFAutoModelForTokenClassification",
    "TFMobileBertForMaskedLM",
    "TFMobileBertForMultipleChoice",
    "TFMobileBertForNextSentencePrediction",
    "TFMobileBertForPreTraining",
    "TFMobileBertForPreTrainingOutput",
    "TFMobileBertForQuestionAnswering",
    "TFMobileBertForSequenceClassification",
    "TFMobileBertForTokenClassification",
    "TFMobileBertLayer",
    "TFMobileBertMainLayer",
    "TFMobileBertModel",
    "TFMobileBertPreTrainedModel",
    "TextPreprocessor",
    "fold",
    "text_dataset",
]

"""The Auto classes, for code written with these names: each gives the models of one head.

Twin: mobilebert_tf/auto.py.
"""

from __future__ import annotations

from mobilebert_core.auto_classes import auto_class, auto_name
from mobilebert_core.errors import BackendMissingError
from mobilebert_core.text.tokenization import MobileBertTokenizer
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast

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
from .modeling import MobileBertModel
from .pretrained import MobileBertPreTrainedModel

AutoModel = auto_class(MobileBertModel, __name__)
AutoModelForPreTraining = auto_class(MobileBertForPreTraining, __name__)
AutoModelForMaskedLM = auto_class(MobileBertForMaskedLM, __name__)
AutoModelForNextSentencePrediction = auto_class(MobileBertForNextSentencePrediction, __name__)
AutoModelForSequenceClassification = auto_class(MobileBertForSequenceClassification, __name__)
AutoModelForQuestionAnswering = auto_class(MobileBertForQuestionAnswering, __name__)
AutoModelForMultipleChoice = auto_class(MobileBertForMultipleChoice, __name__)
AutoModelForTokenClassification = auto_class(MobileBertForTokenClassification, __name__)


def register_with_transformers() -> None:
    """Makes the Auto classes of transformers, and with them its `pipeline`, give our models and tokenizers.

    This is for model_type "mobilebert" and until the process ends. The only place here that imports transformers.

    Raises:
        BackendMissingError: when it is not installed.
    """
    try:
        import transformers
    except ImportError as e:
        raise BackendMissingError(
            f"register_with_transformers: transformers is not installed ({e}). Install it: pip install transformers."
        ) from e
    config = MobileBertPreTrainedModel.config_class
    transformers.AutoConfig.register(config.model_type, config, exist_ok=True)
    transformers.AutoTokenizer.register(
        config, slow_tokenizer_class=MobileBertTokenizer, fast_tokenizer_class=MobileBertTokenizerFast, exist_ok=True
    )
    for model_class in MODEL_CLASSES.values():
        getattr(transformers, auto_name(model_class)).register(config, model_class, exist_ok=True)

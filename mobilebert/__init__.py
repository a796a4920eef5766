"""MobileBERT in PyTorch and Keras 3: pipelines, configuration, tokenizers and a trained model to start with.

    import mobilebert

    classify = mobilebert.pipeline("text-classification")
    classify("I love this!")

The models are in `mobilebert_torch` and `mobilebert_tf`. Importing this package loads no framework; each is imported
by the call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilebert_core.lazy import lazy_names

if TYPE_CHECKING:
    from conversion.exports.export import export as export
    from mobilebert_core.configuration.auto_config import AutoConfig as AutoConfig
    from mobilebert_core.configuration.config import Config as Config
    from mobilebert_core.configuration.config import MobileBertConfig as MobileBertConfig
    from mobilebert_core.demo_model import DEMO_MODEL as DEMO_MODEL
    from mobilebert_core.errors import MobileBertError as MobileBertError
    from mobilebert_core.text.auto_tokenizer import AutoTokenizer as AutoTokenizer
    from mobilebert_core.text.tokenization import MobileBertTokenizer as MobileBertTokenizer
    from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast as MobileBertTokenizerFast
    from mobilebert_tf.auto import TFAutoModel as TFAutoModel
    from mobilebert_tf.auto import TFAutoModelForMaskedLM as TFAutoModelForMaskedLM
    from mobilebert_tf.auto import TFAutoModelForMultipleChoice as TFAutoModelForMultipleChoice
    from mobilebert_tf.auto import TFAutoModelForNextSentencePrediction as TFAutoModelForNextSentencePrediction
    from mobilebert_tf.auto import TFAutoModelForPreTraining as TFAutoModelForPreTraining
    from mobilebert_tf.auto import TFAutoModelForQuestionAnswering as TFAutoModelForQuestionAnswering
    from mobilebert_tf.auto import TFAutoModelForSequenceClassification as TFAutoModelForSequenceClassification
    from mobilebert_tf.auto import TFAutoModelForTokenClassification as TFAutoModelForTokenClassification
    from mobilebert_torch.auto import AutoModel as AutoModel
    from mobilebert_torch.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
    from mobilebert_torch.auto import AutoModelForMultipleChoice as AutoModelForMultipleChoice
    from mobilebert_torch.auto import AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction
    from mobilebert_torch.auto import AutoModelForPreTraining as AutoModelForPreTraining
    from mobilebert_torch.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
    from mobilebert_torch.auto import AutoModelForSequenceClassification as AutoModelForSequenceClassification
    from mobilebert_torch.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
    from mobilebert_torch.auto import register_with_transformers as register_with_transformers
    from mobilebert_torch.schedules import get_constant_schedule_with_warmup as get_constant_schedule_with_warmup
    from mobilebert_torch.schedules import get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup
    from mobilebert_torch.schedules import get_linear_schedule_with_warmup as get_linear_schedule_with_warmup

    from .evaluation import evaluate as evaluate
    from .pipelines import MobileBertPipeline as MobileBertPipeline
    from .pipelines import pipeline as pipeline
    from .training import Training as Training

__version__ = "0.1.0"

_EXPORTS = {
    "AutoConfig": "mobilebert_core.configuration.auto_config",
    "AutoModel": "mobilebert_torch.auto",
    "AutoModelForPreTraining": "mobilebert_torch.auto",
    "AutoModelForMaskedLM": "mobilebert_torch.auto",
    "AutoModelForNextSentencePrediction": "mobilebert_torch.auto",
    "AutoModelForSequenceClassification": "mobilebert_torch.auto",
    "AutoModelForQuestionAnswering": "mobilebert_torch.auto",
    "AutoModelForMultipleChoice": "mobilebert_torch.auto",
    "AutoModelForTokenClassification": "mobilebert_torch.auto",
    "TFAutoModel": "mobilebert_tf.auto",
    "TFAutoModelForPreTraining": "mobilebert_tf.auto",
    "TFAutoModelForMaskedLM": "mobilebert_tf.auto",
    "TFAutoModelForNextSentencePrediction": "mobilebert_tf.auto",
    "TFAutoModelForSequenceClassification": "mobilebert_tf.auto",
    "TFAutoModelForQuestionAnswering": "mobilebert_tf.auto",
    "TFAutoModelForMultipleChoice": "mobilebert_tf.auto",
    "TFAutoModelForTokenClassification": "mobilebert_tf.auto",
    "get_constant_schedule_with_warmup": "mobilebert_torch.schedules",
    "get_cosine_schedule_with_warmup": "mobilebert_torch.schedules",
    "get_linear_schedule_with_warmup": "mobilebert_torch.schedules",
    "register_with_transformers": "mobilebert_torch.auto",
    "AutoTokenizer": "mobilebert_core.text.auto_tokenizer",
    "Config": "mobilebert_core.configuration.config",
    "DEMO_MODEL": "mobilebert_core.demo_model",
    "MobileBertConfig": "mobilebert_core.configuration.config",
    "MobileBertError": "mobilebert_core.errors",
    "MobileBertPipeline": ".pipelines",
    "MobileBertTokenizer": "mobilebert_core.text.tokenization",
    "MobileBertTokenizerFast": "mobilebert_core.text.tokenization_fast",
    "Training": ".training",
    "evaluate": ".evaluation",
    "export": "conversion.exports.export",
    "pipeline": ".pipelines",
}

__all__ = ["__version__", *_EXPORTS]

if not TYPE_CHECKING:  # a module-level __getattr__ would give every unknown name the type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)

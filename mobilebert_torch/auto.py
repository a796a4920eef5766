"""The Auto classes, for code written with these names: each gives the models of one head.

Twin: mobilebert_tf/auto.py.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Self, TypeVar

from mobilebert_core.errors import BackendMissingError, ConfigError
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

Model = TypeVar("Model", bound=MobileBertPreTrainedModel)


class AutoModelBase(Generic[Model]):
    """Gives models of `model_class`; it has no instances."""

    model_class: ClassVar[type[Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        name = cls.__name__
        raise ConfigError(f"{name} has no instances: call {name}.from_pretrained(path) or {name}.from_config(config).")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Model:
        """`from_pretrained` of the head's class."""
        return cls.model_class.from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> Model:
        """A model with random weights."""
        return cls.model_class.from_config(config, **kwargs)


def auto_class(model_class: type[Model]) -> type[AutoModelBase[Model]]:
    """AutoModelForMaskedLM for MobileBertForMaskedLM."""
    name = model_class.__name__.replace("MobileBert", "AutoModel").replace("AutoModelModel", "AutoModel")
    return type(name, (AutoModelBase,), {"model_class": model_class, "__module__": __name__})


AutoModel = auto_class(MobileBertModel)
AutoModelForPreTraining = auto_class(MobileBertForPreTraining)
AutoModelForMaskedLM = auto_class(MobileBertForMaskedLM)
AutoModelForNextSentencePrediction = auto_class(MobileBertForNextSentencePrediction)
AutoModelForSequenceClassification = auto_class(MobileBertForSequenceClassification)
AutoModelForQuestionAnswering = auto_class(MobileBertForQuestionAnswering)
AutoModelForMultipleChoice = auto_class(MobileBertForMultipleChoice)
AutoModelForTokenClassification = auto_class(MobileBertForTokenClassification)


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
        getattr(transformers, auto_class(model_class).__name__).register(config, model_class, exist_ok=True)

"""The Auto classes, for code written with these names: each gives the models of one head.

Twin: mobilebert_torch/auto.py.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Self, TypeVar

from mobilebert_core.errors import ConfigError

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
from .pretrained import TFMobileBertPreTrainedModel

Model = TypeVar("Model", bound=TFMobileBertPreTrainedModel)


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
    """TFAutoModelForMaskedLM for TFMobileBertForMaskedLM."""
    name = model_class.__name__.replace("MobileBert", "AutoModel").replace("AutoModelModel", "AutoModel")
    return type(name, (AutoModelBase,), {"model_class": model_class, "__module__": __name__})


TFAutoModel = auto_class(TFMobileBertModel)
TFAutoModelForPreTraining = auto_class(TFMobileBertForPreTraining)
TFAutoModelForMaskedLM = auto_class(TFMobileBertForMaskedLM)
TFAutoModelForNextSentencePrediction = auto_class(TFMobileBertForNextSentencePrediction)
TFAutoModelForSequenceClassification = auto_class(TFMobileBertForSequenceClassification)
TFAutoModelForQuestionAnswering = auto_class(TFMobileBertForQuestionAnswering)
TFAutoModelForMultipleChoice = auto_class(TFMobileBertForMultipleChoice)
TFAutoModelForTokenClassification = auto_class(TFMobileBertForTokenClassification)

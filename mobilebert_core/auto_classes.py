"""The Auto classes of both backends, for code written with these names: each gives the models of one head."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Self, TypeVar

from .configuration.auto_config import no_registry
from .errors import ConfigError

Model = TypeVar("Model")


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

    @classmethod
    def register(cls, config_class: Any, model_class: Any, exist_ok: bool = False) -> None:
        """Raises ConfigError: these classes give MobileBERTs of this package alone."""
        raise no_registry(cls.__name__, model_class)


def auto_name(model_class: type[Any]) -> str:
    """AutoModelForMaskedLM for MobileBertForMaskedLM, TFAutoModel for TFMobileBertModel."""
    return model_class.__name__.replace("MobileBert", "AutoModel").replace("AutoModelModel", "AutoModel")


def auto_class(model_class: type[Model], module: str) -> type[AutoModelBase[Model]]:
    """The Auto class of a model's class, which lies in a module."""
    return type(auto_name(model_class), (AutoModelBase,), {"model_class": model_class, "__module__": module})

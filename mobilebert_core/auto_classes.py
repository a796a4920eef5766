"""The Auto classes, for code written with these names: each gives MobileBERT's things of one kind."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar

from .errors import ConfigError

Model = TypeVar("Model")


class AutoClass:
    """What they share: they have no instances, and nothing is registered with them.

    Attributes:
        calls: what gives something instead of an instance.
    """

    calls: ClassVar[tuple[str, ...]] = ("from_pretrained(path)",)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        name = cls.__name__
        raise ConfigError(f"{name} has no instances: call {' or '.join(f'{name}.{call}' for call in cls.calls)}.")

    @classmethod
    def register(cls, *passed: Any, **named: Any) -> NoReturn:
        """Raises ConfigError: they give what is of this package alone."""
        kinds = ", ".join(each.__name__ for each in (*passed, *named.values()) if isinstance(each, type))
        raise ConfigError(
            f"{cls.__name__}.register: wanted nothing, as it gives what is of this package alone, got {kinds}. Call "
            f"from_pretrained of your class, or register it with transformers.{cls.__name__}."
        )


class AutoModelBase(AutoClass, Generic[Model]):
    """Gives models of `model_class`; it has no instances."""

    model_class: ClassVar[type[Any]]
    calls = ("from_pretrained(path)", "from_config(config)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Model:
        """`from_pretrained` of the head's class."""
        return cls.model_class.from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> Model:
        """A model with random weights."""
        return cls.model_class.from_config(config, **kwargs)


def auto_name(model_class: type[Any]) -> str:
    """AutoModelForMaskedLM for MobileBertForMaskedLM, TFAutoModel for TFMobileBertModel."""
    return model_class.__name__.replace("MobileBert", "AutoModel").replace("AutoModelModel", "AutoModel")


def auto_class(model_class: type[Model], module: str) -> type[AutoModelBase[Model]]:
    """The Auto class of a model's class, which lies in a module."""
    return type(auto_name(model_class), (AutoModelBase,), {"model_class": model_class, "__module__": module})

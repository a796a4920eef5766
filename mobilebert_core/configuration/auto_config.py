"""AutoConfig: MobileBERT's configuration, for code written with that name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .config import MobileBertConfig


def no_registry(name: str, kind: Any) -> ConfigError:
    """The error of `register`."""
    named = getattr(kind, "__name__", kind)
    return ConfigError(
        f"{name}.register: gives models of this package alone, got {named}. Call {named}.from_pretrained, or register "
        f"it with transformers.{name}."
    )


class AutoConfig:
    """Gives MobileBERT's configurations; it has no instances."""

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """`MobileBertConfig.from_pretrained`."""
        kwargs.pop("trust_remote_code", None)
        return MobileBertConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)

    @staticmethod
    def register(model_type: str, config: Any, exist_ok: bool = False) -> None:
        """Raises ConfigError: it gives MobileBERT's configurations alone."""
        raise no_registry("AutoConfig", config)

    @staticmethod
    def for_model(model_type: str, **kwargs: Any) -> MobileBertConfig:
        """A configuration of a model_type, of which there is "mobilebert"."""
        if model_type != MobileBertConfig.model_type:
            raise ConfigError(f"AutoConfig: wanted {MobileBertConfig.model_type!r}, got {model_type!r}.")
        return MobileBertConfig(**kwargs)

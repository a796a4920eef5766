"""AutoConfig: MobileBERT's configuration, for code written with that name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..auto_classes import AutoClass
from ..errors import ConfigError
from .config import MobileBertConfig


class AutoConfig(AutoClass):
    """Gives MobileBERT's configurations; it has no instances."""

    calls = ("from_pretrained(path)", "for_model('mobilebert')")

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """`MobileBertConfig.from_pretrained`."""
        kwargs.pop("trust_remote_code", None)
        return MobileBertConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)

    @staticmethod
    def for_model(model_type: str, **kwargs: Any) -> MobileBertConfig:
        """A configuration of a model_type, of which there is "mobilebert"."""
        if model_type != MobileBertConfig.model_type:
            raise ConfigError(f"AutoConfig: wanted {MobileBertConfig.model_type!r}, got {model_type!r}.")
        return MobileBertConfig(**kwargs)

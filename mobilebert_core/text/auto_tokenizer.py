"""AutoTokenizer: the fast or the pure Python tokenizer of a checkpoint, for code written with that name."""

from __future__ import annotations

import os
from typing import Any

from ..auto_classes import AutoClass
from .tokenization import MobileBertTokenizer
from .tokenization_base import TokenizerBase
from .tokenization_fast import MobileBertTokenizerFast


class AutoTokenizer(AutoClass):
    """Gives MobileBERT's tokenizers; it has no instances."""

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **overrides: Any
    ) -> TokenizerBase:
        """`MobileBertTokenizerFast.from_pretrained`, or `MobileBertTokenizer`'s when `use_fast` is False."""
        if use_fast:
            return MobileBertTokenizerFast.from_pretrained(pretrained_model_name_or_path, **overrides)
        return MobileBertTokenizer.from_pretrained(pretrained_model_name_or_path, **overrides)

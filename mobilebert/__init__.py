"""MobileBERT in PyTorch and Keras 3: pipelines, configuration, tokenizers and a trained model to start with.

Importing this package loads no framework; each is imported by the call that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "MobileBertPipeline": "mobilebert.pipelines",
    "Training": "mobilebert.training",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

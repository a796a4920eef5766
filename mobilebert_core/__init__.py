"""What MobileBERT is, as data and text: nothing here imports a framework."""

from importlib import import_module
from typing import Any

# Public name: the module of this package that holds it, imported when the name is first used.
_EXPORTS = {
    "AddedToken": "added_tokens",
    "AutoTokenizer": "auto_tokenizer",
    "BasicTokenizer": "basic_tokenization",
    "BatchEncoding": "encoding",
    "Encoding": "encoding",
    "MobileBertTokenizer": "tokenization",
    "MobileBertTokenizerFast": "tokenization_fast",
    "WordpieceTokenizer": "wordpiece",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})

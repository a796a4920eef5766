"""What MobileBERT is, as data and text: nothing here imports a framework."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name: the module of this package that holds it, imported when the name is first used.
_EXPORTS = {
    "MobileBertConfig": "configuration.config",
    "PRESETS": "configuration.presets",
    "HEADS": "heads",
    "Head": "heads",
    "Weight": "weights",
    "weight_table": "weights",
    "parameter_count": "weights",
    "ModelOutput": "outputs",
    "BaseModelOutput": "outputs",
    "BaseModelOutputWithPooling": "outputs",
    "MobileBertForPreTrainingOutput": "outputs",
    "MaskedLMOutput": "outputs",
    "NextSentencePredictorOutput": "outputs",
    "SequenceClassifierOutput": "outputs",
    "MultipleChoiceModelOutput": "outputs",
    "TokenClassifierOutput": "outputs",
    "QuestionAnsweringModelOutput": "outputs",
    "MobileBertError": "errors",
    "ConfigError": "errors",
    "InputError": "errors",
    "DataError": "errors",
    "TokenizerError": "errors",
    "CheckpointError": "errors",
    "CheckpointNotFoundError": "errors",
    "BackendMissingError": "errors",
    "TrainingError": "errors",
    "DEMO_MODEL": "demo_model",
    "AddedToken": "text.added_tokens",
    "AutoTokenizer": "text.auto_tokenizer",
    "BasicTokenizer": "text.basic_tokenization",
    "BatchEncoding": "text.encoding",
    "Encoding": "text.encoding",
    "MobileBertTokenizer": "text.tokenization",
    "MobileBertTokenizerFast": "text.tokenization_fast",
    "WordpieceTokenizer": "text.wordpiece",
    "TASKS": "tasks.table",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})

"""What MobileBERT is, as data and text: nothing here imports a framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .configuration.auto_config import AutoConfig as AutoConfig
    from .configuration.config import MobileBertConfig as MobileBertConfig
    from .configuration.presets import PRESETS as PRESETS
    from .demo_model import DEMO_MODEL as DEMO_MODEL
    from .errors import BackendMissingError as BackendMissingError
    from .errors import CheckpointError as CheckpointError
    from .errors import CheckpointNotFoundError as CheckpointNotFoundError
    from .errors import ConfigError as ConfigError
    from .errors import DataError as DataError
    from .errors import ExportError as ExportError
    from .errors import InputError as InputError
    from .errors import MobileBertError as MobileBertError
    from .errors import SaveError as SaveError
    from .errors import TokenizerError as TokenizerError
    from .errors import TrainingError as TrainingError
    from .heads import HEADS as HEADS
    from .heads import Head as Head
    from .outputs import BaseModelOutput as BaseModelOutput
    from .outputs import BaseModelOutputWithPooling as BaseModelOutputWithPooling
    from .outputs import MaskedLMOutput as MaskedLMOutput
    from .outputs import MobileBertForPreTrainingOutput as MobileBertForPreTrainingOutput
    from .outputs import ModelOutput as ModelOutput
    from .outputs import MultipleChoiceModelOutput as MultipleChoiceModelOutput
    from .outputs import NextSentencePredictorOutput as NextSentencePredictorOutput
    from .outputs import QuestionAnsweringModelOutput as QuestionAnsweringModelOutput
    from .outputs import SequenceClassifierOutput as SequenceClassifierOutput
    from .outputs import TokenClassifierOutput as TokenClassifierOutput
    from .tasks.table import TASKS as TASKS
    from .text.added_tokens import AddedToken as AddedToken
    from .text.auto_tokenizer import AutoTokenizer as AutoTokenizer
    from .text.basic_tokenization import BasicTokenizer as BasicTokenizer
    from .text.encoding import BatchEncoding as BatchEncoding
    from .text.encoding import Encoding as Encoding
    from .text.tokenization import MobileBertTokenizer as MobileBertTokenizer
    from .text.tokenization_fast import MobileBertTokenizerFast as MobileBertTokenizerFast
    from .text.wordpiece import WordpieceTokenizer as WordpieceTokenizer
    from .weights import Weight as Weight
    from .weights import parameter_count as parameter_count
    from .weights import weight_table as weight_table

# Public name: the module of this package that defines it, imported when the name is first used.
_EXPORTS = {
    "AutoConfig": ".configuration.auto_config",
    "MobileBertConfig": ".configuration.config",
    "PRESETS": ".configuration.presets",
    "HEADS": ".heads",
    "Head": ".heads",
    "Weight": ".weights",
    "weight_table": ".weights",
    "parameter_count": ".weights",
    "ModelOutput": ".outputs",
    "BaseModelOutput": ".outputs",
    "BaseModelOutputWithPooling": ".outputs",
    "MobileBertForPreTrainingOutput": ".outputs",
    "MaskedLMOutput": ".outputs",
    "NextSentencePredictorOutput": ".outputs",
    "SequenceClassifierOutput": ".outputs",
    "MultipleChoiceModelOutput": ".outputs",
    "TokenClassifierOutput": ".outputs",
    "QuestionAnsweringModelOutput": ".outputs",
    "MobileBertError": ".errors",
    "ConfigError": ".errors",
    "InputError": ".errors",
    "DataError": ".errors",
    "TokenizerError": ".errors",
    "CheckpointError": ".errors",
    "CheckpointNotFoundError": ".errors",
    "SaveError": ".errors",
    "BackendMissingError": ".errors",
    "TrainingError": ".errors",
    "ExportError": ".errors",
    "DEMO_MODEL": ".demo_model",
    "AddedToken": ".text.added_tokens",
    "AutoTokenizer": ".text.auto_tokenizer",
    "BasicTokenizer": ".text.basic_tokenization",
    "BatchEncoding": ".text.encoding",
    "Encoding": ".text.encoding",
    "MobileBertTokenizer": ".text.tokenization",
    "MobileBertTokenizerFast": ".text.tokenization_fast",
    "WordpieceTokenizer": ".text.wordpiece",
    "TASKS": ".tasks.table",
}

__all__ = list(_EXPORTS)

if not TYPE_CHECKING:  # a module-level __getattr__ would give every unknown name the type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)

"""A tokenizer beside a model: whether its words are the model's, and how long its texts may be."""

from __future__ import annotations

from ..configuration.config import MobileBertConfig
from ..errors import TokenizerError
from .padding_truncation import NO_LIMIT
from .tokenization_base import TokenizerBase


def check_words(caller: str, tokenizer: TokenizerBase, config: MobileBertConfig) -> None:
    """Raises TokenizerError for a tokenizer with more words than the model has, or whose ids have another name."""
    if tokenizer.model_input_names[0] != "input_ids":
        raise TokenizerError(
            f"{caller}: wanted a tokenizer whose model_input_names begin with 'input_ids', got "
            f"{tokenizer.model_input_names!r}. Correct tokenizer_config.json."
        )
    if len(tokenizer) > config.vocab_size:
        raise TokenizerError(
            f"{caller}: wanted a tokenizer for the model's {config.vocab_size} words (vocab_size), got one with "
            f"{len(tokenizer)}. Load both from one checkpoint."
        )


def limit_to_model(tokenizer: TokenizerBase, config: MobileBertConfig) -> None:
    """Gives a tokenizer without a limit of length that of the model."""
    if tokenizer.model_max_length >= NO_LIMIT:
        tokenizer.model_max_length = config.max_position_embeddings

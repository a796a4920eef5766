"""Words for the masked places of a text.

S tokens, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from ..text.batch_rows import listed
from .probabilities import best_first, softmax
from .task_text import Outputs, Row, TaskText, option

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FillMask(TaskText):
    """A list of {score, token, token_str, sequence}, best first; one such list a mask where there are several.

    With `targets` only these words are looked at. Their scores stay probabilities among all words. A target that is no
    word of the vocabulary stands for its first piece, which is logged.
    """

    top_k: int = option(5, int, "words for each mask", least=1)
    targets: tuple[str, ...] = option((), tuple, "words of the vocabulary to choose from (default: all)")

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options; `targets` are looked up in the vocabulary."""
        if options.get("targets") is not None:
            options = {**options, "targets": self._in_vocabulary(options["targets"])}
        return super().with_options(options)

    def _in_vocabulary(self, targets: Any) -> tuple[str, ...]:
        """Tokens for words.

        Raises:
            InputError: where none is left, or one is no text.
        """
        words = [targets] if isinstance(targets, str) else listed(targets)
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise InputError(f"{self.name}: targets must be a word or a list of words, got {targets!r}.")
        vocabulary = self.tokenizer.get_vocab()
        found: dict[str, None] = {}
        for word in words:
            if word in vocabulary:
                found[word] = None
            elif pieces := self.tokenizer.tokenize(word):
                logger.warning(
                    "%s: target %r is no word of the vocabulary; %r stands for it", self.name, word, pieces[0]
                )
                found[pieces[0]] = None
            else:
                logger.warning("%s: target %r has no word of the vocabulary and is left out", self.name, word)
        if not found:
            raise InputError(
                f"{self.name}: wanted targets with words in them, got {targets!r}. Pass words of the vocabulary, or "
                "leave targets out for all words."
            )
        return tuple(found)

    @cached_property
    def _target_ids(self) -> np.ndarray:
        """The numbers of the targets, smallest first; of all words none."""
        return np.unique(np.array([self.tokenizer.convert_tokens_to_ids(word) for word in self.targets], np.int64))

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        row = self.row_of(values["text"])
        mask = self.tokenizer.mask_token_id
        if not (places := [place for place, token in enumerate(row.input_ids) if token == mask]):
            cut = " within the first tokens" if len(row.input_ids) >= self.row_limit else ""
            raise InputError(
                f"{self.name}: wanted {self.tokenizer.mask_token}{cut} in the text, got {values['text'][:60]!r}. "
                f"Write {self.tokenizer.mask_token} where a word is to be found."
            )
        return [replace(row, about=places)]

    def read(self, row: Row, outputs: Outputs) -> list[list[tuple[int, float]]]:
        """For each mask the best words' ids and probabilities, from logits (S, V)."""
        found = []
        for place in row.about:
            probabilities = softmax(outputs["logits"][place])  # (V,)
            tokens = self._target_ids if self.targets else np.arange(len(probabilities))
            best = tokens[best_first(probabilities[tokens], self.top_k)]
            found.append([(int(token), float(probabilities[token])) for token in best])
        return found

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> Any:
        filled = [
            [self._word(rows[0], place, token, score) for token, score in words]
            for place, words in zip(rows[0].about, parts[0], strict=True)
        ]
        return filled[0] if len(filled) == 1 else filled

    def _word(self, row: Row, place: int, token: int, score: float) -> dict[str, Any]:
        ids = [*row.input_ids[:place], token, *row.input_ids[place + 1 :]]
        several = len(row.about) > 1
        special = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id, self.tokenizer.pad_token_id}
        kept = [i for i in ids if i not in special]  # the other masks stay
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.convert_ids_to_tokens(token),
            "sequence": self.tokenizer.decode(kept if several else ids, skip_special_tokens=not several),
        }

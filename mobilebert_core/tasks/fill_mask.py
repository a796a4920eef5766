"""Words for the masked places of a text.

S tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from .probabilities import best_first, softmax
from .task_text import Outputs, Row, TaskText, option


@dataclass(frozen=True)
class FillMask(TaskText):
    """A list of {score, token, token_str, sequence}, best first; one such list a mask where there are several."""

    top_k: int = option(5, int, "words for each mask", least=1)

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
            found.append([(token, float(probabilities[token])) for token in best_first(probabilities, self.top_k)])
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

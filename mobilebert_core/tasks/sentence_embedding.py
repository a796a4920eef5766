"""A vector for a text.

S tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .task_text import Outputs, Row, TaskText, option


@dataclass(frozen=True)
class SentenceEmbedding(TaskText):
    """A float32 array (H,): the mean of the last hidden states of all tokens, or the state of [CLS] as it is.

    States of the released model reach 1e7 and more in single places; `normalize` gives the vector length 1.
    """

    pooling: str = option("mean", str, "mean of all tokens, or the first token's state", ("mean", "cls"))
    normalize: bool = option(False, bool, "give the vector length 1")

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return [self.row_of(values["text"], values.get("text_pair"))]

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        states = np.asarray(outputs["last_hidden_state"][: len(row.input_ids)], np.float64)  # (S, H)
        vector = states.mean(axis=0) if self.pooling == "mean" else states[0]
        if self.normalize:
            vector = vector / max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)
        return vector.astype(np.float32)

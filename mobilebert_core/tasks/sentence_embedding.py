"""A vector for a text.

S tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .task_text import CUT, ERROR, WINDOWS, Outputs, Row, TaskText, option
from .windows import weighted_mean


@dataclass(frozen=True)
class SentenceEmbedding(TaskText):
    """A float32 array (H,): the mean of the last hidden states of all tokens, or the state of [CLS] as it is.

    States of the released model reach 1e7 and more in single places; `normalize` gives the vector length 1.
    """

    pooling: str = option("mean", str, "mean of all tokens, or the first token's state", ("mean", "cls"))
    normalize: bool = option(False, bool, "give the vector length 1")

    on_long: str = option("cut", str, "what becomes of longer texts: cut (and counted), an error, or the mean over "
                          "windows", (CUT, ERROR, WINDOWS))  # fmt: skip

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return self.rows_of_texts(values)

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        states = np.asarray(outputs["last_hidden_state"][: len(row.input_ids)], np.float64)  # (S, H)
        mean: np.ndarray = states.mean(axis=0) if self.pooling == "mean" else states[0]
        return mean

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> np.ndarray:
        vector = weighted_mean([row.about for row in rows], parts)
        if self.normalize:
            vector = vector / max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)
        return vector.astype(np.float32)

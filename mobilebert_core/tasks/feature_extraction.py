"""A vector for every token of a text.

S tokens, H hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..text.tensor_conversion import as_tensor
from .task_text import Outputs, Row, TaskText


@dataclass(frozen=True)
class FeatureExtraction(TaskText):
    """The last hidden states of all tokens, [CLS] and [SEP] too: nested lists [1][S][H], as in transformers.

    With `return_tensors` a call in Python gives a tensor (1, S, H) of the backend, an array where it is an export.
    """

    shows_padding: ClassVar[bool] = True

    return_tensors: bool = field(default=False, kw_only=True)  # of calls in Python alone

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options, `return_tensors` among them."""
        tensors = options.get("return_tensors")
        if not isinstance(tensors, bool | None):
            raise InputError(f"{self.name}: return_tensors must be True or False, got {tensors!r}.")
        text: Any = super().with_options({name: value for name, value in options.items() if name != "return_tensors"})
        return text if tensors is None else dataclasses.replace(text, return_tensors=tensors)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        return [self.row_of(values["text"])]

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        return np.array(outputs["last_hidden_state"][: len(row.input_ids)])[None]  # (1, S, H)

    def returned(self, answer: np.ndarray, framework: str, alone: bool) -> Any:
        return as_tensor(answer, framework) if self.return_tensors else answer.tolist()

"""How tokenized texts lie in rows: [CLS] text [SEP], or with several texts to a row [CLS] text [SEP] text [SEP] ...

T texts, P parts of texts, N tokens.
"""

from __future__ import annotations

import numpy as np

from ..row_arrays import RowArrays


class Packing:
    """Lays out texts as they come, some at a time; what is said of a text does not depend on how they come.

    Attributes:
        longer: how many texts were longer than a row.

    Args:
        room: tokens of texts in a row, separators between them included.
        together: several texts to a row; a text without tokens ends a document, and the next one begins a row.
        cls, sep: ids of the tokens at the ends.
    """

    def __init__(self, room: int, together: bool, cls: int, sep: int) -> None:
        self.room, self.together, self.cls, self.sep = room, together, cls, sep
        self.longer = 0
        self._filled = 0  # tokens of texts in the last row, to which more may come; 0: the next text begins a row
        self._last: np.ndarray | None = None  # that row as far as it is laid out

    def add(self, tokens: np.ndarray, lengths: np.ndarray) -> RowArrays:
        """The rows that are whole, with texts of these tokens (N,) and lengths (T,) added."""
        self.longer += int((lengths > self.room).sum())
        parts, begins = self._packed(lengths) if self.together else self._apart(lengths)
        last = np.zeros(0, tokens.dtype) if self._last is None else self._last
        starts = np.cumsum(parts + 1) - parts - 1 + np.cumsum(begins) + len(last)  # (P,) of each part, in what is made
        made = np.full(len(last) + len(tokens) + len(parts) + int(begins.sum()), self.sep, tokens.dtype)
        made[: len(last)] = last
        made[starts[begins] - 1] = self.cls
        made[np.arange(len(tokens)) + np.repeat(starts - (np.cumsum(parts) - parts), parts)] = tokens
        rows = starts[begins] - 1  # where each begins
        rows = np.append(0, rows) if len(last) else rows
        if len(rows) == 0:
            return _rows(made, rows)
        if not self.together:
            return _rows(made, np.append(rows[1:], len(made)))
        self._last = made[rows[-1] :].copy()
        return _rows(made[: rows[-1]], rows[1:])

    def end(self) -> RowArrays:
        """The last row, if one is left."""
        last, self._last, self._filled = self._last, None, 0
        last = np.zeros(0, np.uint16) if last is None else last
        return _rows(last, np.array([len(last)] if len(last) else [], np.int64))

    def _apart(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The length of each part, and that each begins a row."""
        counts = -(-lengths // self.room)
        parts = np.full(int(counts.sum()), self.room, np.int64)
        some = counts > 0
        parts[np.cumsum(counts)[some] - 1] = (lengths - (counts - 1) * self.room)[some]
        return parts, np.ones(len(parts), bool)

    def _packed(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The length of each part, and whether it begins a row."""
        parts: list[int] = []
        begins: list[bool] = []
        room, filled = self.room, self._filled
        for length in lengths.tolist():
            if not length:
                filled = 0
            while length:
                part = length if length < room else room
                new = not filled or filled + 1 + part > room
                filled = part if new else filled + 1 + part
                parts.append(part)
                begins.append(new)
                length -= part
        self._filled = filled
        return np.array(parts, np.int64), np.array(begins, bool)


def _rows(ids: np.ndarray, ends: np.ndarray) -> RowArrays:
    return RowArrays({"input_ids": ids, "ends": np.asarray(ends, np.int64)})

"""Rows of different lengths in batches that waste little on padding.

B batch, S the longest row of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..inputs import TEXT_INPUTS
from .task_text import Row


def by_length(rows: Sequence[Row], batch_size: int) -> list[list[int]]:
    """Indices of the rows in batches of like length, the longest first: what does not fit into memory fails early."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index].input_ids))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded(
    rows: Sequence[Row], pad_token_id: int, per_choice: bool = False, length: int | None = None
) -> dict[str, np.ndarray]:
    """The rows as int32 arrays (B, S), filled on the right; with `per_choice` (B, 1, S), each row a choice alone.

    S is `length`, which no row may exceed, or the longest row's.
    """
    shape = len(rows), length or max(len(row.input_ids) for row in rows)
    ids = np.full(shape, pad_token_id, np.int32)
    types = np.zeros(shape, np.int32)
    mask = np.zeros(shape, np.int32)
    for number, row in enumerate(rows):
        tokens = len(row.input_ids)
        ids[number, :tokens] = row.input_ids
        types[number, :tokens] = row.token_type_ids
        mask[number, :tokens] = 1
    batch = dict(zip(TEXT_INPUTS, (ids, mask, types), strict=True))
    return {name: array[:, None] for name, array in batch.items()} if per_choice else batch

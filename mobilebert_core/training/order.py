"""In which order rows are read: drawn from the seed, with rows of like length in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SORTED_TOGETHER = 50  # batches' worth of rows that are sorted by length together: little padding, much chance


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The rows of each batch of one epoch. Every row comes once; the same seed and epoch give the same batches."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    sizes = np.asarray(lengths)[order]
    span = batch_size * SORTED_TOGETHER
    for start in range(0, len(order), span):
        chunk = order[start : start + span]
        order[start : start + span] = chunk[np.argsort(sizes[start : start + span], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))]

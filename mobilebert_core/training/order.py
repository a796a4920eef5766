"""In which order rows are read: drawn from the seed, with rows of like length in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .lazy_sequence import LazySequence

WINDOW = 1 << 19  # rows of files that are shuffled together
_BLOCK = 4096  # rows that lie side by side
SORTED_TOGETHER = 50  # batches' worth of rows that are sorted by length together: little padding, much chance


class EpochBatches(LazySequence[np.ndarray]):
    """The batches of one epoch, which are cut out of the order of the rows when they are asked for."""

    def __init__(self, order: np.ndarray, batch_size: int, places: np.ndarray) -> None:
        self.order, self.batch_size, self.places = order, batch_size, places

    def __len__(self) -> int:
        return len(self.places)

    def item(self, number: int) -> np.ndarray:
        start = int(self.places[number]) * self.batch_size
        return self.order[start : start + self.batch_size]


class BlockBatches(LazySequence[np.ndarray]):
    """The batches of one epoch of very many rows, of which those of one window are drawn at a time.

    Blocks of rows that lie side by side are shuffled; then the rows of the blocks of a window, as all rows of a
    smaller data set are. So what is read together lies in few places, and no number is kept for each row.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> None:
        self.lengths, self.batch_size, self.seeds = lengths, batch_size, [seed, epoch]
        self._block = batch_size * max(1, _BLOCK // batch_size)
        self._blocks = max(1, WINDOW // self._block)  # of a window
        whole = len(lengths) // self._block
        self._order = np.random.default_rng(self.seeds).permutation(whole)
        if whole * self._block < len(lengths):
            self._order = np.append(self._order, whole)  # the block that is not full is the last
        self._drawn: tuple[int, EpochBatches] | None = None

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def item(self, number: int) -> np.ndarray:
        window, place = divmod(number, self._blocks * self._block // self.batch_size)
        if self._drawn is None or self._drawn[0] != window:
            self._drawn = window, self._window(window)
        return self._drawn[1][place]

    def _window(self, window: int) -> EpochBatches:
        blocks = self._order[window * self._blocks : (window + 1) * self._blocks]
        rows = (blocks[:, None] * self._block + np.arange(self._block)).ravel()
        rng = np.random.default_rng([*self.seeds, window])
        return _drawn(rows[rows < len(self.lengths)], self.lengths, self.batch_size, rng)


def epoch_batches(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int, in_blocks: bool = False
) -> EpochBatches | BlockBatches:
    """The rows of each batch of one epoch. Every row comes once; the same seed and epoch give the same batches.

    Args:
        in_blocks: shuffles more rows than `WINDOW` in blocks, for rows that are read from files.
    """
    if in_blocks and len(lengths) > WINDOW:
        return BlockBatches(np.asarray(lengths), batch_size, seed, epoch)
    return _drawn(np.arange(len(lengths)), np.asarray(lengths), batch_size, np.random.default_rng([seed, epoch]))


def _drawn(rows: np.ndarray, lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> EpochBatches:
    order = rng.permutation(rows)
    sizes = lengths[order]
    span = batch_size * SORTED_TOGETHER
    for start in range(0, len(order), span):
        chunk = order[start : start + span]
        order[start : start + span] = chunk[np.argsort(sizes[start : start + span], kind="stable")]
    return EpochBatches(order, batch_size, rng.permutation(-(-len(order) // batch_size)))

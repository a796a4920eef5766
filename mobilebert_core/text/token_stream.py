"""Many texts to the ids of their tokens, by all cores, a few thousand texts at a time.

T texts, N tokens of them together.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .tokenization_base import TokenizerBase

AT_ONCE = 4096  # texts

Tokens = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")
R = TypeVar("R")


def token_stream(tokenizer: TokenizerBase, texts: Iterable[str], dtype: type = np.int32) -> Iterator[Tokens]:
    """Tokens (N,) and lengths (T,) of texts, without special tokens, in their order.

    The library of the fast tokenizer computes outside Python's lock, so threads read, tokenize and gather at once.
    """

    def encoded(some: list[str]) -> Tokens:
        rows = tokenizer.piece_ids(some)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(itertools.chain.from_iterable(rows), dtype, int(lengths.sum())), lengths

    yield from computed_ahead(encoded, texts)


def computed_ahead(of: Callable[[list[T]], R], items: Iterable[T]) -> Iterator[R]:
    """What a function makes of the items, `AT_ONCE` together, in their order, by as many threads as there are cores."""
    source = iter(items)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            while some := list(itertools.islice(source, AT_ONCE)):
                waiting.append(pool.submit(of, some))
                if len(waiting) > cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()

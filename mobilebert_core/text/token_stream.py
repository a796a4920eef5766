"""Many texts to the ids of their tokens, by all cores, a few thousand texts at a time.

T texts, N tokens of them together.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from .tokenization_base import TokenizerBase

AT_ONCE = 4096  # texts

Tokens = tuple[np.ndarray, np.ndarray]


def token_stream(tokenizer: TokenizerBase, texts: Iterable[str], dtype: type = np.int32) -> Iterator[Tokens]:
    """Tokens (N,) and lengths (T,) of texts, without special tokens, in their order.

    The library of the fast tokenizer computes outside Python's lock, so threads read, tokenize and gather at once.
    """

    def encoded(some: list[str]) -> Tokens:
        rows = tokenizer(
            some, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )["input_ids"]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(itertools.chain.from_iterable(rows), dtype, int(lengths.sum())), lengths

    source = iter(texts)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[Tokens]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            while some := list(itertools.islice(source, AT_ONCE)):
                waiting.append(pool.submit(encoded, some))
                if len(waiting) > cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()

"""Word pieces as vectors, from which words stand near which: a start for embeddings that costs a minute.

Counts of neighbours in a window become positive pointwise mutual information, whose first singular vectors are taken
(Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization", with the smoothed contexts of Levy,
Goldberg and Dagan 2015). V words, E features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.sparse import coo_matrix, csr_matrix, diags
from sklearn.utils.extmath import randomized_svd

WINDOW = 4  # words to each side
SMOOTHING = 0.75  # exponent of the counts of contexts: rare ones say less than they seem to
SPREAD = 0.08  # standard deviation of what is returned


def neighbours(shards: Path, words: int) -> tuple[csr_matrix, np.ndarray]:
    """How often words stand near each other, (V, V), near ones counting more, and how often each stands at all (V,)."""
    counts, singles = csr_matrix((words, words), dtype=np.float32), np.zeros(words)
    for ids, same in _tokens(shards):
        singles += np.bincount(ids, minlength=words)
        for distance in range(1, WINDOW + 1):
            kept = same[distance:] == same[:-distance]
            pairs = (ids[:-distance][kept], ids[distance:][kept])
            weight = np.full(int(kept.sum()), 1.0 - (distance - 1) / WINDOW, np.float32)
            counts = counts + coo_matrix((weight, pairs), shape=counts.shape).tocsr()
    return counts + counts.T, singles


def _tokens(shards: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each file the tokens, and the number of the row of each."""
    for path in sorted(shards.glob("rows-*.safetensors")):
        arrays = load_file(path)
        ends = arrays["ends"]
        yield arrays["input_ids"].astype(np.int32), np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))


def vectors(counts: csr_matrix, features: int, without: list[int], seed: int = 0) -> np.ndarray:
    """float32 (V, E), all of one length; those of `without` and of words that never occur are near 0."""
    kept = np.ones(counts.shape[0])
    kept[without] = 0
    counts = diags(kept) @ counts @ diags(kept)
    rows, contexts = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel() ** SMOOTHING
    pairs = counts.tocoo()
    information = np.log(pairs.data * contexts.sum() / (rows[pairs.row] * contexts[pairs.col]))
    positive = information > 0
    matrix = csr_matrix((information[positive], (pairs.row[positive], pairs.col[positive])), shape=counts.shape)
    some = min(features, *matrix.shape)  # of few words there are no more; the other features are 0
    left, strengths, _ = randomized_svd(matrix.astype(np.float32), some, n_iter=3, random_state=seed)
    found = np.pad(left * np.sqrt(strengths), ((0, 0), (0, features - some)))
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    found = np.where(norms > 1e-4, found / np.maximum(norms, 1e-4), 0) * np.sqrt(features) * SPREAD
    noise = np.random.default_rng(seed).standard_normal(found.shape) * (SPREAD / 8)
    return np.where(norms > 1e-4, found, noise).astype(np.float32)

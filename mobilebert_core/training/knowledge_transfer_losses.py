"""The terms of knowledge transfer in numpy: the definition that both backends are compared with.

Sources: arXiv 2004.02984, section 3.4, with the normalized form and the weights of the released TF1 code; the rivals as
their papers have them. A term is a mean over real tokens: what the mask leaves out takes no part. Where the teacher is
a distribution, its own entropy is subtracted, so that a student that equals its teacher has the loss 0.

B batch, S sequence, H hidden, A width of queries and keys, N heads, V vocabulary, M masked words.
"""

from __future__ import annotations

import numpy as np

EPSILON = 1e-12  # of the layer norm without parameters, as in the released code
SCORES_BELOW = -100.0  # TinyBERT's code takes attention scores of at most this for masked, and for 0


def normalized(x: np.ndarray) -> np.ndarray:
    """A layer norm without parameters over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + EPSILON)


def token_mean(values: np.ndarray, mask: np.ndarray) -> float:
    """The mean of values (B, S) over the tokens of a mask (B, S)."""
    kept = mask >= 1
    return float(values[kept].mean()) if kept.any() else 0.0


def feature(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """The squared difference of normalized states (B, S, H)."""
    return token_mean(np.square(normalized(teacher) - normalized(student)).mean(-1), mask)


def mean(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """The squared difference of the means of states (B, S, H) over the features."""
    return token_mean(np.square(teacher.mean(-1) - student.mean(-1)), mask)


def variance(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """The absolute difference of the variances of states (B, S, H) over the features."""
    return token_mean(np.abs(teacher.var(-1) - student.var(-1)), mask)


def relation_scores(first: np.ndarray, second: np.ndarray, heads: int) -> np.ndarray:
    """Scaled products of two projections (B, S, A), split into heads: (B, N, S, S), before the softmax.

    Of queries and keys these are the attention scores, of one projection with itself MiniLM's relations.
    """
    size = first.shape[-1] // heads

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape[:2], heads, size).transpose(0, 2, 1, 3)

    return split(first) @ split(second).transpose(0, 1, 3, 2) / np.sqrt(size)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities over the last axis; the largest score is subtracted first, so that none overflows."""
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def attention(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """Cross-entropy of attention scores (B, N, S, S) less the teacher's entropy, over the keys of the mask.

    The mean is over heads and rows of queries of the mask.
    """
    rows = []
    for b, keys in enumerate(mask >= 1):
        if not keys.any():
            continue
        t, s = (log_softmax(x[b][:, keys][:, :, keys]) for x in (teacher, student))  # (N, rows, keys)
        rows.append((np.exp(t) * (t - s)).sum(-1).mean(0))
    return float(np.concatenate(rows).mean()) if rows else 0.0


def soft(teacher: np.ndarray, student: np.ndarray, temperature: float = 1.0) -> float:
    """Cross-entropy of scores of words (M, V) at a temperature less the teacher's entropy, times its square."""
    if not len(teacher):
        return 0.0
    t, s = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return float((np.exp(t) * (t - s)).sum(-1).mean() * temperature**2)


def hard(student: np.ndarray, words: np.ndarray) -> float:
    """Cross-entropy of scores (M, V) and the right words (M,)."""
    return float(-log_softmax(student)[np.arange(len(words)), words].mean()) if len(words) else 0.0


def cosine(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """1 less the cosine of the angle between states (B, S, H): DistilBERT's."""
    norms = np.linalg.norm(teacher, axis=-1) * np.linalg.norm(student, axis=-1)
    return token_mean(1 - (teacher * student).sum(-1) / np.maximum(norms, EPSILON), mask)


def hidden(teacher: np.ndarray, mapped: np.ndarray, mask: np.ndarray) -> float:
    """The squared difference of states (B, S, H), the student's through the learned map: TinyBERT's."""
    return token_mean(np.square(teacher - mapped).mean(-1), mask)


def scores(teacher: np.ndarray, student: np.ndarray, mask: np.ndarray) -> float:
    """The squared difference of attention scores (B, N, S, S) over pairs of tokens of the mask: TinyBERT's."""
    t, s = (np.where(x <= SCORES_BELOW, 0.0, x) for x in (teacher, student))
    kept = (mask >= 1)[:, None, :, None] & (mask >= 1)[:, None, None, :]
    kept = np.broadcast_to(kept, t.shape)
    return float(np.square(t - s)[kept].mean()) if kept.any() else 0.0

"""The objective of one stage of knowledge transfer: a student beside its teacher, and the terms of the stage.

B batch, S sequence, T = B * S tokens, H hidden, A width of queries and keys, N heads, V vocabulary, M masked words.
Twin: mobilebert_torch/knowledge_transfer.py. The definition of each term is its namesake in
mobilebert_core/training/knowledge_transfer_losses.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.training.knowledge_transfer import MAPPED_TERMS, RELATION_TERMS, Comparison
from mobilebert_core.training.knowledge_transfer_losses import EPSILON, SCORES_BELOW

from .distributed import counted
from .inputs import attention_bias
from .losses import cross_entropy, labelled_rows
from .policies import wide_dtype, widened


@dataclass(frozen=True)
class WatchedBlock:
    """What the terms read of a block: its output (T, H), and projected queries, keys and values (B, S, A)."""

    output: Any
    query: Any
    key: Any
    value: Any
    heads: int

    def scores(self) -> Any:
        """The attention scores (B, N, S, S) before mask and softmax."""
        return relation_scores(self.query, self.key, self.heads)


def watch(
    model: Any, batch: Mapping[str, Any], blocks: Collection[int], depth: int, training: bool = False
) -> tuple[Any, dict[int, WatchedBlock], Any]:
    """Runs the first `depth` blocks: the embeddings' output, the blocks asked for, and the last state (T, H).

    Queries and keys are taken where the layer makes them, and no block above runs.
    """
    base, mask = model.mobilebert, batch["attention_mask"]
    embedded = base.embeddings(batch["input_ids"], batch.get("token_type_ids"), attention_mask=mask, training=training)
    bias = attention_bias(mask, wide_dtype(embedded))
    length, found = ops.shape(embedded)[1], {}
    x = embedded = ops.reshape(embedded, (-1, embedded.shape[-1]))
    for index, layer in enumerate(base.encoder.layer[:depth]):
        if index in blocks:
            found[index] = watched_block(layer, x, bias, length, training)
            x = found[index].output
        else:
            x, _ = layer(x, bias, None, length=length, training=training)
    return embedded, found, x


def watched_block(layer: Any, x: Any, attention_bias: Any, length: Any, training: bool = False) -> WatchedBlock:
    """What `layer(x, attention_bias, length=length)` computes, with its projections."""
    query, value, residual = layer._sources(x)
    own = layer.attention.self
    q, k, v = own.query(query), own.key(query), own.value(value)
    context, _ = own.attend(q, k, v, attention_bias, None, length, training)
    output = layer.transform(layer.attention.output_(context, residual, training=training), x, training)
    q, k, v = (ops.reshape(part, (-1, length, part.shape[-1])) for part in (q, k, v))
    return WatchedBlock(output, q, k, v, own.num_attention_heads)


class KnowledgeTransfer:
    """The objective of one stage: model and batch -> its terms by name, times their weights.

    The teacher is in inference mode, without dropout and gradients. Batches hold `input_ids`, an `attention_mask`
    (B, S), and where words are scored `labels` (B, S), -100 where nothing is hidden.

    Args:
        teacher: None where the stage does not need one.
        start: first values of the objective's own weights, by name; see `first_weights`.
        device: None; Keras places models and weights itself.

    Attributes:
        weights: weights of the objective itself, trained with the model and dropped after the stage.
    """

    def __init__(
        self, teacher: Any, comparison: Comparison, start: Mapping[str, np.ndarray], device: Any = None
    ) -> None:
        self.teacher = teacher
        self.comparison = comparison
        self.weights = {name: keras.Variable(array, dtype=str(array.dtype), name=name) for name, array in start.items()}

    def __call__(self, model: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        stage = self.comparison.stage
        embedded, blocks, last = watch(model, batch, stage.blocks, stage.depth, training=True)
        terms: dict[str, list[Any]] = {name: [] for name in stage.weights}
        taught: Any = (None, {}, None)  # as `watch` returns them
        if self.teacher is not None and stage.needs_teacher:
            depth = self.comparison.teacher_depth(self.teacher.config.num_hidden_layers)
            taught = watch(self.teacher, batch, self.comparison.followed, depth)
        mask = batch["attention_mask"]
        for index, block in blocks.items():
            for name, value in self._of_block(taught[1][self.comparison.follows[index]], block, mask).items():
                terms[name].append(value)
        if "hidden" in terms:
            terms["hidden"].append(self._hidden(taught[0], embedded, mask))
        if "cosine" in terms:
            terms["cosine"].append(cosine(constant(taught[2]), widened(last), mask))
        for name, value in self._of_words(model, batch, taught[2], last).items():
            terms[name].append(value)
        return {name: ops.mean(ops.stack(terms[name])) * weight for name, weight in stage.weights.items()}

    def _of_block(self, teacher: WatchedBlock, student: WatchedBlock, mask: Any) -> dict[str, Any]:
        wanted, found = self.comparison.stage.weights, {}
        for name, term in (("feature", feature), ("mean", mean), ("variance", variance)):
            if name in wanted:
                found[name] = term(constant(teacher.output), widened(student.output), mask)
        for name, term in (("attention", attention), ("scores", scores)):
            if name in wanted:
                found[name] = term(constant(teacher.scores()), student.scores(), mask)
        for name, part in zip(RELATION_TERMS, ("query", "key", "value"), strict=True):
            if name in wanted:
                theirs, ours = getattr(teacher, part), getattr(student, part)
                heads = self.comparison.heads
                found[name] = attention(
                    constant(relation_scores(theirs, theirs, heads)), relation_scores(ours, ours, heads), mask
                )
        if "hidden" in wanted:
            found["hidden"] = self._hidden(teacher.output, student.output, mask)
        return found

    def _hidden(self, teacher: Any, student: Any, mask: Any) -> Any:
        weight = self.weights[MAPPED_TERMS[0]]
        return hidden(constant(teacher), ops.matmul(widened(student), weight), mask)

    def _of_words(self, model: Any, batch: Mapping[str, Any], taught: Any, last: Any) -> dict[str, Any]:
        """The terms of the heads. Both vocabularies are multiplied with the states of masked words only."""
        wanted, found = self.comparison.stage.weights, {}
        if self.comparison.stage.reads_words:
            rows = labelled_rows(batch["labels"])
            labels = ops.take(ops.reshape(batch["labels"], (-1,)), rows)
            logits = widened(model.cls.predictions(ops.take(last, rows, axis=0)))
            if "hard" in wanted:
                found["hard"] = cross_entropy(logits, labels)
            if "soft" in wanted:
                assert taught is not None and self.teacher is not None
                targets = constant(self.teacher.cls.predictions(ops.take(taught, rows, axis=0)))
                found["soft"] = soft(targets, logits, self.comparison.temperature)
        if "next_sentence" in wanted:
            states = ops.reshape(last, (*ops.shape(batch["input_ids"]), last.shape[-1]))
            logits = widened(model.cls.seq_relationship(model.mobilebert.pooler(states)))
            found["next_sentence"] = cross_entropy(logits, ops.reshape(batch["next_sentence_label"], (-1,)))
        return found


# ---------------------------------------------------------------------------------------------- the terms


def constant(x: Any) -> Any:
    """In float32 at least, and without a gradient: the teacher's."""
    return ops.stop_gradient(widened(x))


def normalized(x: Any) -> Any:
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + EPSILON)


def token_mean(values: Any, mask: Any) -> Any:
    kept = ops.cast(ops.reshape(mask, (-1,)) >= 1, values.dtype)
    return ops.sum(ops.reshape(values, (-1,)) * kept) / counted(ops.sum(kept))


def feature(teacher: Any, student: Any, mask: Any) -> Any:
    return token_mean(ops.mean(ops.square(normalized(teacher) - normalized(student)), axis=-1), mask)


def mean(teacher: Any, student: Any, mask: Any) -> Any:
    return token_mean(ops.square(ops.mean(teacher, axis=-1) - ops.mean(student, axis=-1)), mask)


def variance(teacher: Any, student: Any, mask: Any) -> Any:
    return token_mean(ops.abs(ops.var(teacher, axis=-1) - ops.var(student, axis=-1)), mask)


def relation_scores(first: Any, second: Any, heads: int) -> Any:
    def split(x: Any) -> Any:
        return ops.transpose(ops.reshape(widened(x), (*ops.shape(x)[:2], heads, x.shape[-1] // heads)), (0, 2, 1, 3))

    first, second = split(first), split(second)
    return ops.matmul(first * (1.0 / math.sqrt(first.shape[-1])), ops.transpose(second, (0, 1, 3, 2)))


def attention(teacher: Any, student: Any, mask: Any) -> Any:
    hidden_keys = (mask < 1)[:, None, None, :]
    lowest = float(np.finfo(keras.backend.standardize_dtype(student.dtype)).min)
    t, s = (ops.log_softmax(ops.where(hidden_keys, lowest, x), axis=-1) for x in (teacher, student))
    # Of a hidden key both are the lowest number, and nothing of their difference may be left.
    divergence = ops.sum(ops.exp(t) * ops.where(hidden_keys, 0.0, t - s), axis=-1)  # (B, N, S)
    return token_mean(ops.mean(divergence, axis=1), mask)


def soft(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    t, s = (ops.log_softmax(x / temperature, axis=-1) for x in (teacher, student))
    count = ops.cast(ops.shape(student)[0], student.dtype)
    return ops.sum(ops.exp(t) * (t - s)) * temperature**2 / counted(count)


def cosine(teacher: Any, student: Any, mask: Any) -> Any:
    norms = ops.norm(teacher, axis=-1) * ops.norm(student, axis=-1)
    return token_mean(1 - ops.sum(teacher * student, axis=-1) / ops.maximum(norms, EPSILON), mask)


def hidden(teacher: Any, mapped: Any, mask: Any) -> Any:
    return token_mean(ops.mean(ops.square(teacher - mapped), axis=-1), mask)


def scores(teacher: Any, student: Any, mask: Any) -> Any:
    t, s = (ops.where(x <= SCORES_BELOW, 0.0, x) for x in (teacher, student))
    kept = ops.cast(mask >= 1, t.dtype)
    rows = ops.mean(ops.sum(ops.square(t - s) * kept[:, None, None, :], axis=-1), axis=1)  # (B, S)
    return ops.sum(rows * kept) / counted(ops.sum(ops.square(ops.sum(kept, axis=-1))))

"""The objective of one stage of knowledge transfer: a student beside its teacher, and the terms of the stage.

B batch, S sequence, H hidden, A width of queries and keys, N heads, V vocabulary, M masked words.
Twin: mobilebert_tf/knowledge_transfer.py. The definition of each term is its namesake in
mobilebert_core/training/knowledge_transfer_losses.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mobilebert_core.heads import IGNORE_INDEX
from mobilebert_core.training.knowledge_transfer import MAPPED_TERMS, RELATION_TERMS, Comparison
from mobilebert_core.training.knowledge_transfer_losses import EPSILON, SCORES_BELOW

from .distributed import counted
from .inputs import attention_bias
from .losses import cross_entropy
from .wide import wide_dtype, widened


@dataclass(frozen=True)
class WatchedBlock:
    """What the terms read of a block: its output (B, S, H), and projected queries, keys and values (B, S, A)."""

    output: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    heads: int

    def scores(self) -> Tensor:
        """The attention scores (B, N, S, S) before mask and softmax."""
        return relation_scores(self.query, self.key, self.heads)


def watch(
    model: Any, batch: Mapping[str, Tensor], blocks: Collection[int], depth: int
) -> tuple[Tensor, dict[int, WatchedBlock], Tensor]:
    """Runs the first `depth` blocks: the embeddings' output, the blocks asked for, and the last state (B, S, H).

    Queries and keys are taken where the layer makes them, so the fused attention is kept and no block above runs.
    """
    base = model.base_model
    embedded = base.embeddings(batch["input_ids"], batch.get("token_type_ids"), attention_mask=batch["attention_mask"])
    bias = attention_bias(batch["attention_mask"], wide_dtype(embedded))
    x, found = embedded, {}
    for index, layer in enumerate(base.encoder.layer[:depth]):
        if index in blocks:
            found[index] = watched_block(layer, x, bias)
            x = found[index].output
        else:
            x, *_ = layer(x, bias)
    return embedded, found, x


def watched_block(layer: Any, x: Tensor, attention_bias: Tensor) -> WatchedBlock:
    """What `layer(x, attention_bias)` computes, with its projections."""
    query, value, residual = layer._sources(x)
    own = layer.attention.self
    q, k, v = own.query(query), own.key(query), own.value(value)
    context, *_ = own.attend(q, k, v, attention_bias, None, False)
    output = layer.transform(layer.attention.output(context, residual), x)
    return WatchedBlock(output, q, k, v, own.num_attention_heads)


class KnowledgeTransfer:
    """The objective of one stage: model and batch -> its terms by name, times their weights.

    The teacher is in inference mode, without dropout and gradients. Batches hold `input_ids`, an `attention_mask`
    (B, S), and where words are scored `labels` (B, S), -100 where nothing is hidden.

    Args:
        teacher: None where the stage does not need one.
        start: first values of the objective's own weights, by name; see `first_weights`.
        device: where the teacher and these weights go; default where they are.

    Attributes:
        weights: weights of the objective itself, trained with the model and dropped after the stage.
    """

    same_weights = True  # on which every batch depends

    def __init__(
        self, teacher: Any, comparison: Comparison, start: Mapping[str, np.ndarray], device: Any = None
    ) -> None:
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False).to(device)
        self.comparison = comparison
        self.weights = {
            name: torch.nn.Parameter(torch.from_numpy(np.array(array)).to(device)) for name, array in start.items()
        }

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stage = self.comparison.stage
        embedded, blocks, last = watch(model, batch, stage.blocks, stage.depth)
        terms: dict[str, list[Tensor]] = {name: [] for name in stage.weights}
        taught: Any = (None, {}, None)  # as `watch` returns them
        if self.teacher is not None and stage.needs_teacher:
            with torch.no_grad():
                depth = self.comparison.teacher_depth(self.teacher.config.num_hidden_layers)
                taught = watch(self.teacher, batch, self.comparison.followed, depth)
        mask = batch["attention_mask"]
        with torch.autocast(last.device.type, enabled=False):
            for index, block in blocks.items():
                for name, value in self._of_block(taught[1][self.comparison.follows[index]], block, mask).items():
                    terms[name].append(value)
            if "hidden" in terms:
                terms["hidden"].append(self._hidden(taught[0], embedded, mask))
            if "cosine" in terms:
                terms["cosine"].append(cosine(constant(taught[2]), widened(last), mask))
        for name, value in self._of_words(model, batch, taught[2], last).items():
            terms[name].append(value)
        return {name: torch.stack(terms[name]).mean() * weight for name, weight in stage.weights.items()}

    def _of_block(self, teacher: WatchedBlock, student: WatchedBlock, mask: Tensor) -> dict[str, Tensor]:
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
                    relation_scores(theirs, theirs, heads), relation_scores(ours, ours, heads), mask
                )
        if "hidden" in wanted:
            found["hidden"] = self._hidden(teacher.output, student.output, mask)
        return found

    def _hidden(self, teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
        weight = self.weights[MAPPED_TERMS[0]]
        return hidden(constant(teacher), widened(student) @ weight, mask)

    def _of_words(
        self, model: Any, batch: Mapping[str, Tensor], taught: Tensor | None, last: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the heads. Both vocabularies are multiplied with the states of masked words only."""
        wanted, found = self.comparison.stage.weights, {}
        if self.comparison.stage.reads_words:
            labels = batch["labels"].flatten()
            rows = (labels != IGNORE_INDEX).nonzero()[:, 0]
            logits = widened(model.cls.predictions(last.flatten(0, 1)[rows]))
            if "hard" in wanted:
                found["hard"] = cross_entropy(logits, labels[rows])
            if "soft" in wanted:
                assert taught is not None and self.teacher is not None
                with torch.no_grad():
                    targets = constant(self.teacher.cls.predictions(taught.flatten(0, 1)[rows]))
                found["soft"] = soft(targets, logits, self.comparison.temperature)
        if "next_sentence" in wanted:
            pooled = model.base_model.pooler(last)
            logits = widened(model.cls.seq_relationship(pooled))
            found["next_sentence"] = cross_entropy(logits, batch["next_sentence_label"].flatten())
        return found


# ---------------------------------------------------------------------------------------------- the terms


def constant(x: Tensor) -> Tensor:
    """In float32 at least, and without a gradient: the teacher's."""
    return widened(x).detach()


def normalized(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPSILON)


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    kept = (mask >= 1).to(values.dtype)
    return (values * kept).sum() / counted(kept.sum())


def feature(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    return token_mean((normalized(teacher) - normalized(student)).square().mean(-1), mask)


def mean(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    return token_mean((teacher.mean(-1) - student.mean(-1)).square(), mask)


def variance(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    return token_mean((teacher.var(-1, correction=0) - student.var(-1, correction=0)).abs(), mask)


def relation_scores(first: Tensor, second: Tensor, heads: int) -> Tensor:
    first, second = (widened(x).unflatten(-1, (heads, -1)).transpose(1, 2) for x in (first, second))
    return torch.matmul(first * (1.0 / math.sqrt(first.shape[-1])), second.transpose(-1, -2))


def attention(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    hidden_keys = (mask < 1)[:, None, None, :]
    lowest = torch.finfo(student.dtype).min
    t, s = (torch.log_softmax(x.masked_fill(hidden_keys, lowest), -1) for x in (teacher, student))
    # Of a hidden key both are the lowest number, and nothing of their difference may be left.
    divergence = (t.exp() * (t - s).masked_fill(hidden_keys, 0)).sum(-1)  # (B, N, S)
    return token_mean(divergence.mean(1), mask)


def soft(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    t, s = (torch.log_softmax(x / temperature, -1) for x in (teacher, student))
    return F.kl_div(s, t, reduction="sum", log_target=True) * temperature**2 / counted(student.new_tensor(len(student)))


def cosine(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(teacher, dim=-1) * torch.linalg.vector_norm(student, dim=-1)
    return token_mean(1 - (teacher * student).sum(-1) / norms.clamp(min=EPSILON), mask)


def hidden(teacher: Tensor, mapped: Tensor, mask: Tensor) -> Tensor:
    return token_mean((teacher - mapped).square().mean(-1), mask)


def scores(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    t, s = (x.masked_fill(x <= SCORES_BELOW, 0) for x in (teacher, student))
    keys = (mask >= 1)[:, None, None, :].to(t.dtype)
    rows = ((t - s).square() * keys).sum(-1).mean(1)  # (B, S)
    kept = (mask >= 1).to(t.dtype)
    return (rows * kept).sum() / counted(kept.sum(-1).square().sum())

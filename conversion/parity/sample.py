"""Random checkpoints and sample batches, for parity without a trained model.

Every weight is random, norms and biases included, so that no two modules can be confused. Hidden states can be scaled
to any size, because those of the released model reach 2.5e7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.checkpoints.containers.safetensors import save_weights
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import FOLDED, MULTI_LABEL, REGRESSION
from mobilebert_core.heads import IGNORE_INDEX, Head, Task, problem_type_of, scores_shape
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.weight_rows import query_reads_hidden
from mobilebert_core.weights import Weight, weight_table

# Sentences written for this package, of different lengths, so that a batch of them has padding.
SENTENCES = (
    "The river rose overnight, and by morning the lower road was gone.",
    "Who keeps the bees?",
    "She fixed the old radio with a paper clip and two wires from the lamp.",
    "It rained.",
)

# NoNorm does not normalize. These initialization ranges keep hidden states about the same size over 24 layers;
# otherwise rounding errors would grow and mask real differences.
_DENSE_GAIN = 0.5
_NORM_RANGE = (0.6, 1.1)


def random_checkpoint(
    config: MobileBertConfig, head: Head, directory: Path, seed: int = 0, hidden_scale: float = 1.0
) -> Path:
    """Writes a checkpoint of random weights (float32) and returns its directory; equal seeds give equal bytes.

    `hidden_scale` multiplies the hidden states. Heads read them as they are, so their weights shrink by as
    much, and logits keep their size.
    """
    weights = {w.name: a for w, a in _random_weights(config, head, np.random.default_rng(seed), hidden_scale)}
    save_weights(directory / "model.safetensors", weights)
    config.copy(architectures=[head.class_name], dtype="float32").save_pretrained(directory)
    return directory


def _random_weights(
    config: MobileBertConfig, head: Head, rng: np.random.Generator, scale: float
) -> list[tuple[Weight, np.ndarray]]:
    weights = []
    for weight in weight_table(config, head):
        if weight.tied_to is not None:
            continue
        if weight.kind == "exponents":
            array = rng.integers(-3, 4, weight.shape).astype(np.float32)
        elif weight.name.endswith("weight") and len(weight.shape) == 2:
            fan_in = weight.shape[0] if weight.kind == "extra_output" else weight.shape[1]
            gain = 1.0 if weight.kind.endswith("table") else _DENSE_GAIN / math.sqrt(max(1, fan_in))
            array = rng.standard_normal(weight.shape, np.float32) * gain
        elif weight.name.endswith("weight"):
            array = rng.uniform(*_NORM_RANGE, weight.shape).astype(np.float32)
        else:
            array = rng.standard_normal(weight.shape, np.float32) * 0.1
        if _reads_hidden(weight, config, head):
            array /= np.float32(scale)
        elif _writes_hidden(weight, config):
            array *= np.float32(scale)
        weights.append((weight, array.astype(np.float32)))
    return weights


# Where hidden states are read and written. Dividing the weights of every reader by s and multiplying all that is
# written by s makes every hidden state s times as large and leaves the rest of the network as it was.
_QUERY_KEY = ("self.query.weight", "self.key.weight")


def _reads_hidden(weight: Weight, config: MobileBertConfig, head: Head) -> bool:
    """True for the matrices that multiply hidden states."""
    name = weight.full_name
    if weight.kind == "classifier":
        after_tanh = config.classifier_activation and head.pooled
        return name.endswith("weight") and not after_tanh
    if weight.group is not None and weight.kind == "linear":  # of the pooler or a head
        return name.endswith("weight")
    if name.endswith("self.projection.weight"):
        return True
    if not config.use_bottleneck:
        return name.endswith((*_QUERY_KEY, "self.value.weight", "intermediate.dense.weight"))
    if name.endswith(("bottleneck.input.dense.weight", "bottleneck.attention.dense.weight")):
        return True
    if name.endswith("self.value.weight"):
        return not config.use_bottleneck_attention
    return name.endswith(_QUERY_KEY) and query_reads_hidden(config)


def _writes_hidden(weight: Weight, config: MobileBertConfig) -> bool:
    """True for what is added into hidden states; a layer norm also loses their size and gives it back."""
    name = weight.full_name
    if name.startswith("mobilebert.embeddings."):
        summed = ("position_embeddings.weight", "token_type_embeddings.weight", "transformation.weight", "n.bias")
        folded = config.norm_at("embeddings") == FOLDED
        return name.endswith(summed) if folded else ".LayerNorm." in name
    if name.endswith(".state.bias"):
        return True
    written = ".output.bottleneck." in name if config.use_bottleneck else ".output." in name
    restores_size = config.normalization_type == "layer_norm" or not name.endswith("LayerNorm.weight")
    return written and name.startswith("mobilebert.encoder.") and restores_size


def batch_of(
    tokenizer: Any, texts: Sequence[str], config: MobileBertConfig, head: Head, seed: int = 0
) -> dict[str, Any]:
    """A padded int32 batch of texts with random labels for every task of the head."""
    encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=config.max_position_embeddings)
    batch = {n: np.asarray(encoded[n], np.int32) for n in TEXT_INPUTS}
    if head.per_choice:  # every text with each of two others as a choice
        batch = {n: np.stack([a, np.roll(a, 1, axis=0)], axis=1) for n, a in batch.items()}
    return {**batch, **labels_for(config, head, batch["input_ids"].shape, seed)}


def labels_for(config: MobileBertConfig, head: Head, shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Random labels for inputs of a shape, (B, S) or (B, choices, S)."""
    rng = np.random.default_rng(seed)
    labels: dict[str, np.ndarray] = {}
    for task in head.tasks:
        *rows, classes = scores_shape(config, task, shape)  # (B,) or (B, S), and C
        if task.kind == "problem":
            labels[task.label] = _problem_labels(config, task, rng, (rows[0], classes))
        elif task == head.words:  # about half of the tokens, as when words are masked
            labels[task.label] = np.where(rng.random(rows) < 0.5, rng.integers(0, classes, rows), IGNORE_INDEX)
        else:
            labels[task.label] = rng.integers(0, classes, rows)
    return {name: a if a.dtype == np.float32 else a.astype(np.int32) for name, a in labels.items()}


def _problem_labels(
    config: MobileBertConfig, task: Task, rng: np.random.Generator, scores: tuple[int, int]
) -> np.ndarray:
    rows, classes = scores
    problem = problem_type_of(config, task, classes, integer_labels=True)
    if problem == MULTI_LABEL:
        return rng.integers(0, 2, scores).astype(np.float32)
    if problem == REGRESSION:
        return rng.standard_normal(scores if classes > 1 else (rows,)).astype(np.float32)
    return rng.integers(0, classes, rows)

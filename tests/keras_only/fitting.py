"""TINY models of one block without dropout, and what they are fitted to, for the tests of `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_tf import MODEL_CLASSES
from tests.tiny import tiny_batch, tiny_config

SMALL = {
    "num_hidden_layers": 1,
    "num_feedforward_networks": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TASKS = [name for name in HEADS if name != "Model"]
MARKER = 7  # a word that says what the label is


def build(name: str, dtype: Any = None, seed: int = 0, **overrides: Any) -> Any:
    keras.utils.set_random_seed(seed)
    return MODEL_CLASSES[name](tiny_config(**{**SMALL, **overrides}), dtype=dtype)


def data(name: str, batch: int = 8, **overrides: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and random labels apart."""
    both = tiny_batch(tiny_config(**{**SMALL, **overrides}), name, batch=batch)
    labels = {n: both.pop(n) for n in HEADS[name].label_names if n in both}
    return both, labels


def learnable(name: str, batch: int = 64, length: int = 7) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and labels that follow from where a marker word stands."""
    rng = np.random.default_rng(0)
    head = HEADS[name]
    shape = (batch, 3, length) if head.per_choice else (batch, length)
    ids = rng.integers(10, 97, shape).astype(np.int32)
    places = rng.integers(0, 2, batch)
    if head.per_choice:
        ids[np.arange(batch), places, 0] = MARKER
        labels = {"labels": places}
    else:
        ids[np.arange(batch), places] = MARKER
        by_word = {"labels": ids, "next_sentence_label": places}
        labels = {
            "PreTraining": by_word,
            "MaskedLM": {"labels": ids},
            "TokenClassification": {"labels": (ids == MARKER).astype(int)},
            "QuestionAnswering": {"start_positions": places, "end_positions": places + 1},
        }.get(name, {"labels": places})
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}, {n: a.astype(np.int32) for n, a in labels.items()}


def plain(labels: Mapping[str, Any]) -> Any:
    """One array where there is one, as most users pass y."""
    return next(iter(labels.values())) if len(labels) == 1 else dict(labels)


def cross_entropy(logits: Any, labels: np.ndarray) -> np.ndarray:
    """Of each row, by hand in float64; of a label of -100 it is any number."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    picked = np.take_along_axis(shifted, np.maximum(labels, 0)[..., None], -1)[..., 0]
    return np.log(np.exp(shifted).sum(-1)) - picked


def weights_of(model: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(keras.ops.copy(v)) for v in model.trainable_variables]


def check_wrong_batches_are_refused(jit_compile: bool = False) -> None:
    """Batches that come one by one are looked at: a wrong number is our error and changes no weight."""
    for wrong, number in (("labels", -5), ("input_ids", 5000), ("attention_mask", 2)):
        x, y = data("SequenceClassification")
        ({**x, **y}[wrong]).flat[0] = number
        model = build("SequenceClassification")
        model.compile("sgd", jit_compile=jit_compile)
        before = weights_of(model)
        for run in (model.evaluate, model.fit):
            try:
                run(Batches(x, plain(y), 8), verbose=0)
            except InputError as e:
                assert "must lie in 0.." in str(e) or "attention_mask must hold 1" in str(e), str(e)
            else:
                raise AssertionError(f"{wrong} {number} was taken")
            assert all(np.array_equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


class Batches(keras.utils.PyDataset):
    """Batches of arrays, as a user's PyDataset gives them."""

    def __init__(self, x: Mapping[str, Any], y: Any = None, size: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return -(-len(next(iter(self.x.values()))) // self.size)

    def __getitem__(self, index: int) -> Any:
        rows = slice(index * self.size, (index + 1) * self.size)
        parts = (self.x,) if self.y is None else (self.x, self.y)
        cut = keras.tree.map_structure(lambda array: array[rows], parts)
        return cut if self.y is not None else cut[0]

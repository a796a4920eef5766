"""Pipelines around small random models, for the tests of what they answer and of how they are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobilebert import MobileBertPipeline
from mobilebert_core import TASKS, AutoTokenizer, MobileBertConfig, MobileBertTokenizerFast
from tests.core.test_tasks import VOCABULARY

TEXT = "Émile Zola lives in the city, New Yorkers sing in Paris. "
OPTIONS: dict[str, dict[str, Any]] = {
    "token-classification": {"aggregation_strategy": "first", "ignore_labels": []},
    "question-answering": {"threshold": 0.0, "top_k": 3, "max_length": 30, "doc_stride": 8},
    "zero-shot-classification": {"candidate_labels": ["cats", "dogs", "new york"]},
    "text-classification": {"top_k": 2},
}
CONFIG = {"zero-shot-classification": {"id2label": {0: "entailment", 1: "neutral", 2: "contradiction"}}}


@pytest.fixture
def model(checkpoint, tmp_path):
    """Writes a random TINY checkpoint for a task, with tokenizer files."""

    def write(task: str, **config: Any):
        path = checkpoint(TASKS[task].head, **{**CONFIG.get(task, {}), **config})
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
        MobileBertTokenizerFast(tmp_path / "vocab.txt").save_pretrained(path)
        return path

    return write


def load(task, path, backend, **options):
    return MobileBertPipeline.from_pretrained(
        task, path, backend=backend, **{**OPTIONS.get(task, {}), **options}, device=None
    )


def assert_same(first: Any, second: Any, tolerance: float = 1e-4) -> None:
    """Two answers with equal words and places, and numbers that differ by rounding."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same(first[name], second[name], tolerance)
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(first, float | np.ndarray):
        scale = max(1.0, float(np.abs(first).max()))
        assert np.abs(first - second).max() <= tolerance * scale
    else:
        assert first == second


class Recorder:
    """A runner that scores a row by its length, and remembers the batches it saw."""

    def __init__(self, config):
        self.config = config
        self.shapes = []

    def run(self, batch):
        self.shapes.append(batch["input_ids"].shape)
        lengths = batch["attention_mask"].sum(axis=1)
        return {"logits": np.stack([lengths, 0 * lengths], axis=1).astype(np.float32)}


@pytest.fixture
def recorded(model):
    path = model("text-classification")
    runner = Recorder(MobileBertConfig.from_pretrained(path))
    options = {"function_to_apply": "none", "batch_size": 2}
    return MobileBertPipeline("text-classification", AutoTokenizer.from_pretrained(path), runner, **options), runner

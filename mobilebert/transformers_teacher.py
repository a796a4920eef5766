"""A text classifier of another kind as a teacher, run by transformers on PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mobilebert_core.checkpoints.opening import as_one
from mobilebert_core.datasets.examples import TextExample

BATCH = 32  # rows; nothing is kept for gradients


class TransformersTeacher:
    """Texts or pairs -> their scores. What is longer than the teacher's positions is cut from the longer text."""

    def __init__(self, place: Path, device: str | None) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model, self.tokenizer = as_one(
            place,
            lambda: (
                AutoModelForSequenceClassification.from_pretrained(place),
                AutoTokenizer.from_pretrained(place),
            ),
        )
        self.model = model.eval().to(self.device)
        self.id2label: dict[int, str] = {int(i): str(name) for i, name in self.model.config.id2label.items()}
        self.limit = min(self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 512))

    @torch.inference_mode()
    def __call__(self, examples: Sequence[TextExample]) -> list[dict[str, np.ndarray]]:
        found: list[dict[str, np.ndarray]] = []
        pairs = any(example.pair is not None for example in examples)
        for start in range(0, len(examples), BATCH):
            some = examples[start : start + BATCH]
            second = [example.pair or "" for example in some] if pairs else None
            encoded = self.tokenizer(
                [example.text for example in some], second, truncation=True, max_length=self.limit, padding=True,
                return_tensors="pt",
            )  # fmt: skip
            logits = self.model(**encoded.to(self.device)).logits.float().cpu().numpy()
            found += [{"logits": row} for row in logits]
        return found

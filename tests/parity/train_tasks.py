"""Data that can be learned for every task, and `mobilebert train` on it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from mobilebert.cli import main

NO_DROPOUT = ("hidden_dropout_prob=0", "attention_probs_dropout_prob=0", "classifier_dropout=0")
WORDS = (
    "good", "bad", "fine", "awful", "lovely", "a", "the", "film", "book", "is", "was", "it", "this", "that", "very",
    "not", "who", "when", "where", "bees", "honey", "rain",
)  # fmt: skip


def sentence(rng, label):
    words = [str(w) for w in rng.choice(WORDS[5:], 6)]
    words[int(rng.integers(6))] = ("awful", "lovely")[label]
    return " ".join(words)


def write_task(folder: Path, task: str) -> Path:
    """Learnable rows for a task."""
    rng = np.random.default_rng(0)
    labels = [int(i) for i in rng.integers(0, 2, 40)]
    texts = [sentence(rng, label) for label in labels]
    if task == "text-classification":
        lines = ["text,label", *(f"{t},{('bad', 'good')[y]}" for t, y in zip(texts, labels, strict=True))]
        return write_lines(folder / "data.csv", lines)
    if task == "token-classification":
        tagged = [
            "\n".join(f"{w} {'B-X' if w in ('awful', 'lovely') else 'O'}" for w in t.split()) + "\n" for t in texts
        ]
        return write_lines(folder / "data.conll", tagged)
    if task == "question-answering":
        questions = [
            {"id": str(i), "question": "who is it", "answers": [{"text": w, "answer_start": t.index(w)}]}
            for i, t in enumerate(texts)
            for w in ("awful", "lovely")
            if w in t.split()
        ]
        paragraphs = [{"context": texts[int(q["id"])], "qas": [q]} for q in questions]
        return write_lines(folder / "data.json", [json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]})])
    if task == "multiple-choice":
        rows = [{"text": "it was", "choices": [t, sentence(rng, 1 - y)], "label": 1 - y} for t, y in zip(texts, labels,
                strict=True)]  # fmt: skip
        return write_lines(folder / "data.jsonl", [json.dumps(row) for row in rows])
    lines = [line for i, t in enumerate(texts) for line in ([t, ""] if i % 4 == 3 else [t])]
    return write_lines(folder / "data.txt", lines)


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TASKS = ("text-classification", "token-classification", "question-answering", "multiple-choice", "fill-mask",
         "pretraining")  # fmt: skip


def train(here: Path, task: str, output: str, *options: str) -> int:
    data = write_task(here, task)
    return main(["train", task, "--data", str(data), "--dev", str(data), "--model",
                 str(here / "random" / "config.json"), "--output", str(here / output), "--batch-size", "8", "--set",
                 *NO_DROPOUT, *options])  # fmt: skip


def signalled(monkeypatch, owner, name, number, at):
    """Sends a signal to this process at the start of a call of a method."""
    original, calls = getattr(owner, name), []

    def method(self, *args):
        calls.append(args)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return original(self, *args)

    monkeypatch.setattr(owner, name, method)
    return calls


# What an environment without the optional packages lacks.
MISSING = ("sklearn", "sklearn.metrics", "scipy", "scipy.stats", "seqeval", "seqeval.metrics",
           "seqeval.metrics.sequence_labeling", "matplotlib", "matplotlib.figure")  # fmt: skip

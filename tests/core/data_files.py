"""Small data files, and tasks on a small vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mobilebert_core import MobileBertConfig, MobileBertTokenizerFast
from mobilebert_core.datasets.examples import Examples, ReadOptions
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.core.test_tasks import VOCABULARY
from tests.core.tokenizers import write_vocabulary

# Tasks with labels: the others learn from text alone.
LABELLED = [name for name, task in TRAINING_TASKS.items() if issubclass(task, LabelledTask)]
TEXTS, WORDS = "text-classification", "token-classification"
QUESTIONS, CHOICES = "question-answering", "multiple-choice"
ENDINGS = {ending for task in TRAINING_TASKS.values() for ending in task.reader.endings}


def written(folder: Path, name: str, content: Any) -> Path:
    """A file: text or bytes as they are, a list as JSON lines, other things as JSON."""
    path = folder / name
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, task: str, name: str, content: Any, **options: Any) -> Examples:
    return TRAINING_TASKS[task].read(written(folder, name, content), ReadOptions(**options))


def made(examples: Examples, task: str, folder: Path, tokenizer: Any = MobileBertTokenizerFast, **options: Any):
    """The task as training on the examples sets it up, on the vocabulary of the tests of tasks."""
    row = TRAINING_TASKS[task]
    fields = row.config_fields(examples, examples.options)
    config = MobileBertConfig(vocab_size=len(VOCABULARY), **fields)
    return row(tokenizer(write_vocabulary(folder / "vocabulary", VOCABULARY)), config, **options)


def squad(*questions: dict[str, Any], context: str = "Émile Zola lives in the city of Paris.") -> dict[str, Any]:
    """SQuAD's JSON with one paragraph."""
    named = [{"id": f"q{i}", "question": "who is in the city?"} | each for i, each in enumerate(questions)]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": named}]}]}


def answered(text: str, start: int) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": start}]}

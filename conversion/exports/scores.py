"""The task file on which source and export are scored, as training scores its model."""

from __future__ import annotations

from pathlib import Path

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ExportError
from mobilebert_core.heads import Head
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.training.evaluation import TaskFile
from mobilebert_core.training.tasks.table import TRAINING_TASKS

from .texts import read_without_options


def task_file(
    path: Path, tokenizer: TokenizerBase, config: MobileBertConfig, head: Head, length: int | None = None
) -> TaskFile:
    """A file of examples for a head, read; rows are at most `length` tokens.

    Raises:
        ExportError: for a head that no files of examples are for.
        DataError, BackendMissingError: as `TaskFile`.
    """
    kind = next((task for task in TRAINING_TASKS.values() if task.head == head.name), None)
    if kind is None:
        raise ExportError(f"{path}: no task file says how well a {head.class_name} does. Leave --evaluate out.")
    with read_without_options():
        return TaskFile(kind(tokenizer, config, length), path)

"""A teacher for the tasks of `mobilebert train`: its scores of every row, and rows that have no label but those."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conversion.backends import Backend
from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.digests import model_digests, tokenizer_digests
from mobilebert_core.checkpoints.opening import as_one
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.datasets.examples import BadRows, Examples, ReadOptions, TextExample
from mobilebert_core.datasets.sources import Source
from mobilebert_core.errors import BackendMissingError, ConfigError, DataError
from mobilebert_core.files import CONFIG_FILE, read_json, sha256
from mobilebert_core.heads import HEADS, IGNORE_INDEX
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.saves import current
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.tasks.table import TASKS
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.training.soft_labels import SoftLabels, TaughtRow, in_order, order_of_labels, taught_batch
from mobilebert_core.training.tasks.labelled_task import FeatureRow, LabelledTask
from mobilebert_core.training.tasks.text_classification import TextClassificationTraining
from mobilebert_core.training.tasks.training_task import Features, TrainingTask

TEACHING_BATCH = 64  # rows; nothing is kept for gradients


@dataclass(frozen=True)
class Lesson:
    """What a training learns from.

    Attributes:
        rows: each with its `length`.
        batch: makes arrays of rows.
        objective: in place of the model's own loss; None keeps that.
        notes: for people.
    """

    rows: Sequence[Any]
    batch: Callable[..., dict[str, np.ndarray]]
    objective: Any = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Who teaches a task, and how.

    Attributes:
        teacher: a checkpoint of this package with the head of the task; for text classification also one that
            transformers runs, such as a BERT.
        soft_labels: shares and temperature.
        unlabelled: a file of texts without labels, which the teacher labels; of text classification. May be text.
    """

    teacher: str
    soft_labels: SoftLabels = dataclasses.field(default_factory=SoftLabels)
    unlabelled: Path | None = None

    def __post_init__(self) -> None:
        if self.unlabelled is not None:
            object.__setattr__(self, "unlabelled", Path(self.unlabelled))

    def check(self, kind: type[TrainingTask]) -> None:
        """Raises ConfigError for a task that has no labels to teach."""
        if not issubclass(kind, LabelledTask):
            raise ConfigError(
                f"train {kind.name}: masked words are learned from a teacher by `mobilebert distill`; --teacher is for "
                "tasks with labels."
            )
        if self.unlabelled is not None and not issubclass(kind, TextClassificationTraining):
            raise ConfigError(f"train {kind.name}: rows without labels are for text-classification. Leave them out.")

    def settings(self) -> dict[str, Any]:
        """As they stand among the settings of a training."""
        rows = None if self.unlabelled is None else {"file": self.unlabelled.name, "sha256": sha256(self.unlabelled)}
        return {**dataclasses.asdict(self.soft_labels), "unlabelled": rows}

    def digests(self) -> dict[str, str]:
        """Of the teacher's files by name: its model, and the tokenizer by which it reads."""
        return {**model_digests(self.teacher), **tokenizer_digests(self.teacher)}

    def lesson(
        self, task: LabelledTask, examples: Mapping[str, Examples], features: Mapping[str, Features], backend: Backend,
        device: str | None, read: ReadOptions, options: Mapping[str, Any],
    ) -> Lesson:  # fmt: skip
        """The train rows and those without labels, with the teacher's scores; notes say its scores on dev rows.

        Raises:
            ConfigError: for a teacher with other labels, or whose tokens are others where it scores tokens.
        """
        teacher = _teacher(self.teacher, task, backend, device, options)
        rows = _with_scores(features["train"].rows, teacher(examples["train"], features["train"]))
        name = name_of(self.teacher)
        notes = [f"the teacher {name} labels {len(rows):,} train rows"]
        if self.unlabelled is not None:
            more = self._unlabelled(task, teacher, read)
            notes = [f"the teacher {name} labels {len(rows):,} train rows and {len(more):,} without labels"]
            rows += more
        if "dev" in features:
            try:
                task.check_libraries()
                scores = task.scores(examples["dev"], features["dev"], teacher(examples["dev"], features["dev"]))
                said = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
                notes.append(f"the teacher on the dev rows: {said}")
            except BackendMissingError as e:
                notes.append(f"no scores of the teacher: {e}")
        head = HEADS[task.head]
        make = backend.load("task_distillation", "train").TaskDistillation
        objective = make(head, task.config.problem_type, self.soft_labels)
        return Lesson(rows, taught_batch(task.batch, head), objective, notes)

    def _unlabelled(self, task: LabelledTask, teacher: Any, read: ReadOptions) -> list[TaughtRow]:
        """Rows whose labels nothing is learned from, or, where none can be left out, are those of the teacher."""
        assert self.unlabelled is not None
        bad = BadRows(self.unlabelled, read.skip_bad_rows)
        found = TASKS[task.name].files.rows(Source.of(self.unlabelled), read, (), bad)
        problem, config = getattr(task, "problem", None), task.config
        label: Any = () if problem == MULTI_LABEL else "0" if problem == REGRESSION else (config.id2label or {})[0]
        items = [TextExample(row.line, row.values["text"], row.values.get("text_pair"), label) for row in found]
        if not items:
            raise DataError(f"{self.unlabelled}: wanted texts, got none.")
        examples = Examples(items, bad.messages, self.unlabelled, read)
        features = task.features(examples)
        taught = _with_scores(features.rows, teacher(examples, features))
        return [
            dataclasses.replace(
                each, row=dataclasses.replace(each.row, labels=_label_of(each.scores["logits"], problem))
            )
            for each in taught
        ]


def _label_of(logits: np.ndarray, problem: str | None) -> Any:
    if problem == MULTI_LABEL:
        return {i: float(p) for i, p in enumerate(1 / (1 + np.exp(-np.clip(np.float64(logits), -60, 60))))}
    return float(logits[0]) if problem == REGRESSION else IGNORE_INDEX


def _with_scores(rows: Sequence[FeatureRow], scores: Sequence[Mapping[str, np.ndarray]]) -> list[TaughtRow]:
    return [TaughtRow(row, found) for row, found in zip(rows, scores, strict=True)]


def _teacher(place: str, task: LabelledTask, backend: Backend, device: str | None, options: Mapping[str, Any]) -> Any:
    """Examples and their features -> the scores of each row, labels in the student's order."""
    where = resolve(place, config=True, weights=True, tokenizer=True)
    config_file = current(where / CONFIG_FILE)
    if config_file.is_file() and (model := read_json(config_file).get("model_type", "mobilebert")) != "mobilebert":
        if not isinstance(task, TextClassificationTraining):
            raise ConfigError(f"{place}: a teacher of the kind {model} is for text-classification, not {task.name}.")
        try:
            from .transformers_teacher import TransformersTeacher
        except ImportError as e:
            raise BackendMissingError(
                f"{place}: a teacher of the kind {model} is run by transformers on PyTorch, which is not installed "
                f"({e}). Install it: pip install 'mobilebert[teachers]'."
            ) from e
        other = TransformersTeacher(where, device)
        order = order_of_labels(MobileBertConfig(id2label=other.id2label), task.config, task.head)
        return lambda examples, features: in_order(other([examples.items[row.example] for row in features.rows]), order)
    return OwnTeacher(place, task, backend, device, options)


class OwnTeacher:
    """A teacher of this package. Its tokenizer may be another one where a row has one score for each label."""

    def __init__(
        self, place: str, task: LabelledTask, backend: Backend, device: str | None, options: Mapping[str, Any]
    ) -> None:
        self.place = place

        def opened() -> tuple[Runner, TokenizerBase]:
            runner: Runner = backend.runner("train").from_pretrained(task.head, place, device=device)
            return runner, AutoTokenizer.from_pretrained(place)

        self.runner, tokenizer = as_one(place, opened)
        theirs = self.runner.config
        self.order = order_of_labels(theirs, task.config, task.head)
        labels = {} if self.order is None else {"id2label": task.config.id2label, "label2id": task.config.label2id}
        named = theirs.copy(problem_type=task.config.problem_type, **labels)
        limit = min(theirs.max_position_embeddings, task.text.row_limit)
        self.task = type(task)(tokenizer, named, limit, **options)
        self.by_token = any(each.per_token or each.kind == "span" for each in HEADS[task.head].tasks)

    def __call__(self, examples: Examples, features: Features) -> list[dict[str, np.ndarray]]:
        rows = self.task.features(examples).rows
        same = [row.example for row in rows] == [row.example for row in features.rows]
        if self.by_token:
            same = same and all(a.input_ids == b.input_ids for a, b in zip(rows, features.rows, strict=True))
        if not same:
            raise ConfigError(
                f"{self.place}: the teacher scores tokens, and its tokenizer divides the texts otherwise than the "
                "student's. Take a teacher with the student's vocabulary and length."
            )
        found: list[Any] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
        for start in range(0, len(order), TEACHING_BATCH):
            places = order[start : start + TEACHING_BATCH]
            batch = self.task.batch([rows[i] for i in places], training=False)
            outputs = self.runner.run(batch)
            for i, place in enumerate(places):
                length = rows[place].length if self.by_token else None
                found[place] = {n: a[i][:length] for n, a in outputs.items() if n.endswith("logits")}
        return in_order(found, self.order)

"""Five small tasks by which encoders are compared: how their data are read, how a model learns them, and TF-IDF.

DATA holds `tasks/NAME/{train,dev}.jsonl` of nli, banking77, snips and atis_pos, and `goemotions/{train,dev}.tsv` with
`labels.txt`. Every model learns each task by the same recipe, and is scored on the dev rows, by which its best epoch is
chosen too: the scores compare models, they are not what to expect of other texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from mobilebert.training import Training
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.files import write_text
from mobilebert_core.training.tasks.metrics import multi_label, tuned_thresholds

from .word_baseline import logits_of, several_labels, word_features

_SHARED = "rows"  # below a directory of work: the data of the tasks, which all models read


@dataclass(frozen=True)
class SmallTask:
    """One task.

    Attributes:
        task: what `mobilebert train` calls it.
        steps: of 32 rows, of a whole comparison; a smaller one takes a share of them.
        score: by which models are compared, and its name for people.
        several: whether a text may have several labels.
    """

    name: str
    task: str
    about: str
    steps: int
    score: str = "accuracy"
    read: ReadOptions = field(default_factory=ReadOptions)
    max_length: int = 64
    several: bool = False


_PAIRS = ReadOptions(text_column="premise", pair_column="hypothesis", label_column="label")
_KNOWN_TAGS = ReadOptions(skip_bad_rows=True)  # one dev sentence has a tag that no other has
SMALL_TASKS = {
    task.name: task
    for task in (
        SmallTask("nli", "text-classification", "inference, accuracy", 2500, read=_PAIRS),
        SmallTask("banking77", "text-classification", "77 intents, accuracy", 2000),
        SmallTask("snips", "text-classification", "7 intents, accuracy", 600),
        SmallTask("atis_pos", "token-classification", "parts of speech, accuracy", 600, read=_KNOWN_TAGS),
        SmallTask("goemotions", "text-classification", "28 emotions, micro F1", 2500, "f1_micro", several=True),
    )
}
FOUR = ("nli", "banking77", "snips", "atis_pos")


def prepared(task: SmallTask, data: Path, work: Path) -> Path:
    """A directory with train.jsonl and dev.jsonl of the task, made once."""
    folder = work / _SHARED / task.name
    for split in ("train", "dev"):
        path = folder / f"{split}.jsonl"
        if path.exists():
            continue
        rows = _emotions(data / "goemotions", split) if task.several else _rows(data / "tasks" / task.name, split)
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _rows(folder: Path, split: str) -> list[dict[str, Any]]:
    kept = ("text", "premise", "hypothesis", "label", "tokens", "tags")  # without spans and sources
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name in kept} for line in lines]


def _emotions(folder: Path, split: str) -> list[dict[str, Any]]:
    names = _emotion_names(folder)
    lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return [{"text": row[0], "labels": {names[int(n)]: 1.0 for n in row[1].split(",")}} for row in rows]


def _emotion_names(folder: Path) -> list[str]:
    return (folder / "labels.txt").read_text(encoding="utf-8").split()


def fine_tuned(
    task: SmallTask, data: Path, work: Path, model: str, output: Path, *, steps: int, seed: int = 0, rate: float = 5e-4
) -> float:  # fmt: skip
    """The score of a model after it has learned the task, or had learned it before; `output` is left.

    Args:
        model: a checkpoint, or the path of a config.json with a tokenizer beside it for random weights.
        steps: of 32 rows.
    """
    folder = prepared(task, data, work)
    read = task.read
    if task.several:
        read = ReadOptions(label_names=tuple(_emotion_names(data / "goemotions")))
    training = Training(
        task=task.task,
        data=folder,
        model=model,
        output=output,
        changes={"learning_rate": rate, "batch_size": 32, "epochs": 100, "max_steps": steps, "seed": seed},
        read=read,
        max_length=task.max_length,
        tune_thresholds=task.several,
        resume=output.exists(),
        progress=False,
    )
    return float(training.run()["dev"][task.score])


def words_alone(task: SmallTask, data: Path, work: Path) -> float:
    """The score of logistic regression on TF-IDF of words and pairs of words; for words, on each and its neighbours."""
    folder = prepared(task, data, work)
    train, dev = (_read(folder / f"{split}.jsonl") for split in ("train", "dev"))
    if task.task == "token-classification":
        features = DictVectorizer()
        classifier = LogisticRegression(max_iter=200)
        classifier.fit(features.fit_transform(_neighbours(train)), [tag for row in train for tag in row["tags"]])
        found = classifier.predict(features.transform(_neighbours(dev)))
        return float(np.mean(found == np.array([tag for row in dev for tag in row["tags"]])))
    columns = ("premise", "hypothesis") if task.read.pair_column else ("text",)
    vectorizers = [word_features() for _ in columns]
    known = hstack([v.fit_transform([row[c] for row in train]) for v, c in zip(vectorizers, columns, strict=True)])
    asked = hstack([v.transform([row[c] for row in dev]) for v, c in zip(vectorizers, columns, strict=True)])
    if not task.several:
        classifier = LogisticRegression(C=10, max_iter=200).fit(known.tocsr(), [row["label"] for row in train])
        return float(np.mean(classifier.predict(asked.tocsr()) == np.array([row["label"] for row in dev])))
    names = _emotion_names(data / "goemotions")
    gold, right = (np.array([[n in row["labels"] for n in names] for row in rows]) for rows in (train, dev))
    logits = logits_of(several_labels().fit(known.tocsr(), gold), asked.tocsr())
    return multi_label(logits, right, tuned_thresholds(logits, right))["f1_micro"]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _neighbours(rows: Sequence[dict[str, Any]]) -> list[dict[str, bool]]:
    """Of each word itself, its ending, and the words beside it."""
    found = []
    for row in rows:
        words = ["", *row["tokens"], ""]
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            found.append({f"0 {word}": True, f"end {word[-3:]}": True, f"-1 {before}": True, f"1 {after}": True})
    return found

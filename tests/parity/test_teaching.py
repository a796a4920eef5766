"""`mobilebert train TASK --teacher`: whose scores are learned, in which order of labels, and which are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from conversion.backends import FRAMEWORKS
from conversion.parity.sample import random_checkpoint
from mobilebert.cli import main
from mobilebert.teaching import Teaching
from mobilebert.training import Training
from mobilebert_core import AutoTokenizer, ConfigError, MobileBertConfig
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.heads import HEADS
from mobilebert_core.training.soft_labels import TEACHER, SoftLabels
from mobilebert_core.training.tasks.table import training_task_named
from tests.curves import curve
from tests.parity.train_tasks import train, write_task

LABELS = {"text-classification": ["bad", "good"], "token-classification": ["B-X", "O"]}


def random_teacher(place, head, labels, **fields):
    """A checkpoint of random weights with the vocabulary of the students."""
    names = {} if labels is None else {"id2label": dict(enumerate(labels))}
    config = MobileBertConfig.from_pretrained(place / "random" / "config.json", **names, **fields)
    random_checkpoint(config, HEADS[head], place / "teacher", 5)
    shutil.copy(place / "random" / "vocab.txt", place / "teacher")
    return place / "teacher"


def lesson(place, name, teacher, **options):
    """What a training of a task learns from, with a student that knows the labels of the data."""
    kind = training_task_named(name)
    examples = {"train": kind.read(write_task(place, name))}
    fields = kind.config_fields(examples["train"], ReadOptions())
    config = MobileBertConfig.from_pretrained(place / "random" / "config.json", **fields)
    task = kind(AutoTokenizer.from_pretrained(place / "random"), config, config.max_position_embeddings)
    features = {"train": task.features(examples["train"])}
    teaching = Teaching(teacher=str(teacher), **options)
    return task, teaching.lesson(task, examples, features, FRAMEWORKS["torch"], None, ReadOptions(), {})


@pytest.mark.parametrize("name", ["token-classification", "question-answering", "multiple-choice"])
def test_the_scores_are_those_of_the_teacher(here, name):
    """In every batch, whatever its rows, and with the labels in the student's order."""
    head = training_task_named(name).head
    reordered = LABELS[name][::-1] if name in LABELS else None
    teacher = random_teacher(here, head, reordered)
    _, found = lesson(here, name, teacher)
    batch = found.batch(list(found.rows[3:8]), np.random.default_rng(0))
    inputs = {n: batch[n] for n in ("input_ids", "attention_mask", "token_type_ids")}
    outputs = FRAMEWORKS["torch"].runner("test").from_pretrained(head, teacher).run(inputs)
    for task in HEADS[head].tasks:
        scores = outputs[task.logits]
        scores = scores[..., ::-1] if reordered else scores
        real = (
            batch["attention_mask"] >= 1
            if scores.ndim > 1 and scores.shape[:2] == batch["attention_mask"].shape
            else ...
        )
        assert np.abs(batch[TEACHER + task.logits][real] - scores[real]).max() < 1e-4 * np.abs(scores[real]).max()


def test_a_bert_by_transformers_teaches(here):
    """With a vocabulary of its own; its labels have another order."""
    place = here / "bert"
    place.mkdir()
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    (place / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]))
    config = transformers.BertConfig(
        vocab_size=57, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        id2label={0: "good", 1: "bad"}, label2id={"good": 0, "bad": 1}, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(place)
    tokenizer = transformers.BertTokenizerFast(str(place / "vocab.txt"))
    tokenizer.save_pretrained(place)
    task, found = lesson(here, "text-classification", place)
    first = training_task_named("text-classification").read(write_task(here, "text-classification")).items[0]
    with torch.inference_mode():
        wanted = model(**tokenizer(first.text, return_tensors="pt")).logits[0].numpy()[::-1]
    assert np.allclose(found.rows[0].scores["logits"], wanted, atol=1e-5) and task.config.id2label[0] == "bad"


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_student_learns_from_scores_alone(here, backend, capsys):
    """Also from those of texts that have no labels."""
    teacher = random_teacher(here, "SequenceClassification", LABELS["text-classification"])
    (here / "more.txt").write_text("a lovely day\nnothing awful\n")
    options = ("--teacher", str(teacher), "--unlabelled", str(here / "more.txt"), "--epochs", "6", "--learning-rate",
               "3e-3", "--hard-share", "0", "--backend", backend)  # fmt: skip
    assert train(here, "text-classification", "out", *options) == 0
    assert "the teacher teacher labels 40 train rows and 2 without labels" in capsys.readouterr().out
    losses = curve(here / "out")
    assert len(losses) == 6 * 6 and losses[-6:].mean() < 0.9 * losses[:6].mean()  # 42 rows in batches of 8
    settings = json.loads((here / "out" / "training.json").read_text())["settings"]["teacher"]
    assert settings["hard_share"] == 0 and settings["unlabelled"]["file"] == "more.txt"


def test_several_files_are_taught_as_one(here):
    teacher = random_teacher(here, "SequenceClassification", LABELS["text-classification"])
    lines = write_task(here, "text-classification").read_text().splitlines()
    for name, some in (("a", lines[1:20]), ("b", lines[20:])):
        (here / f"{name}.csv").write_text("\n".join([lines[0], *some]) + "\n")
    (here / "more.txt").write_text("a lovely day\n")
    teaching = Teaching(teacher=str(teacher), unlabelled=str(here / "more.txt"))
    common = {"task": "text-classification", "model": str(here / "random" / "config.json"), "teaching": teaching}
    training = Training(data=f"{here}/[ab].csv", output=here / "out", held_out=5, changes={"max_steps": 1}, **common)
    notes = training.run()["notes"]
    assert "the teacher teacher labels 40 train rows and 1 without labels" in notes
    assert "train: 40 rows are in memory, of which none is held out; nothing is evaluated" in notes
    with pytest.raises(ConfigError, match="wanted rows in memory, got --shards"):
        Training(data=here / "a.csv", output=here / "other", shards=here / "rows", **common).run()


def test_resuming_wants_the_same_teacher_and_its_words(here, capsys):
    teacher = random_teacher(here, "SequenceClassification", LABELS["text-classification"])
    options = ("--teacher", str(teacher), "--max-steps", "1")
    assert train(here, "text-classification", "out", *options) == 0
    assert train(here, "text-classification", "out", *options, "--resume") == 0
    lines = (teacher / "vocab.txt").read_text().splitlines()
    (teacher / "vocab.txt").write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]) + "\n")
    assert train(here, "text-classification", "out", *options, "--resume") == 2
    assert "was trained with other settings (teacher: vocab.txt has changed)" in capsys.readouterr().err


def test_teachers_that_are_refused(here, capsys):
    teacher = random_teacher(here, "SequenceClassification", ["up", "down"])
    assert train(here, "text-classification", "out", "--teacher", str(teacher)) == 2
    assert "with the labels of the data (bad, good), got up, down" in capsys.readouterr().err
    assert train(here, "text-classification", "out", "--temperature", "3") == 2
    assert "--temperature is for a teacher, there is none" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="learned from a teacher by `mobilebert distill`"):
        Training(
            task="fill-mask", data=here, model="mobilebert", output=here / "out", teaching=Teaching(teacher="x")
        ).run()
    with pytest.raises(ConfigError, match="hard_share must be from 0 to below 1, got 1"):
        SoftLabels(hard_share=1)
    assert not (here / "out").exists()
    with pytest.raises(SystemExit):
        main(["train", "fill-mask", "--teacher", "x"])


def test_a_teacher_of_tokens_needs_the_students_words(here):
    teacher = random_teacher(here, "TokenClassification", ["B-X", "O"])
    lines = (teacher / "vocab.txt").read_text().splitlines()
    moved = [line for line in lines if line not in ("awful", "lovely")] + ["[unused1]", "[unused2]"]
    (teacher / "vocab.txt").write_text("\n".join(moved) + "\n")
    with pytest.raises(ConfigError, match="its tokenizer divides the texts otherwise"):
        lesson(here, "token-classification", teacher)

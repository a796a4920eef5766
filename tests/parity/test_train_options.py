"""`mobilebert train`: thresholds, dropout, labels that are unknown, what it starts from, and missing packages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilebert import MobileBertPipeline, Training
from mobilebert.cli import main
from mobilebert.commands.recipe_options import RECIPE_HELP
from mobilebert.distillation import Distillation
from tests.parity.train_tasks import MISSING, sentence, train, write_lines, write_task
from tests.tiny import TINY


@pytest.mark.parametrize(
    ("task", "package", "backend"),
    [
        ("text-classification", "scikit-learn", "torch"),
        ("text-classification", "scikit-learn", "keras"),
        ("token-classification", "seqeval", "torch"),
        ("multiple-choice", None, "torch"),
    ],
)
def test_a_model_without_the_optional_packages(here, task, package, backend, capsys, monkeypatch):
    for module in MISSING:
        monkeypatch.setitem(sys.modules, module, None)
    assert train(here, task, "out", "--max-steps", "1", "--backend", backend) == 0
    printed, files = capsys.readouterr(), {path.name for path in (here / "out").iterdir()}
    said = printed.err
    assert {"model.safetensors", "config.json", "vocab.txt", "README.md", "training.json"} <= files
    assert (said + printed.out).count("pip install 'mobilebert[plot]'") == 1 and "curves.png" not in files
    card = (here / "out" / "README.md").read_text()
    if package is None:
        assert "scores need" not in said and "Scores on" in card
    else:
        assert f"scores need {package}" in said and "keeps its last model" in said and "Scores on" not in card
        assert "pip install 'mobilebert\\[train\\]'" in card


@pytest.mark.parametrize("task", ["token-classification", "multiple-choice"])
def test_the_classifiers_dropout_is_the_recipes(here, task, capsys):
    data = write_task(here, task)
    assert main(["train", task, "--data", str(data), "--model", str(here / "random" / "config.json"), "--output",
                 str(here / "out"), "--max-steps", "1", "--classifier-dropout", "0.25"]) == 0  # fmt: skip
    assert json.loads((here / "out" / "config.json").read_text())["classifier_dropout"] == 0.25
    assert "classifier dropout 0.25" in (here / "out" / "README.md").read_text()
    said = capsys.readouterr().err
    assert "config.json: the weights are random" in said and "--model mobilebert-mini" in said


def test_an_unknown_label_at_evaluation_is_an_error_or_counted(here, capsys):
    data = write_task(here, "text-classification")
    dev = write_lines(here / "dev.csv", ["text,label", "a lovely film,good", "a film,great"])
    command = ["train", "text-classification", "--data", str(data), "--dev", str(dev), "--epochs", "1", "--model",
               str(here / "random" / "config.json"), "--output", str(here / "out")]  # fmt: skip
    assert main(command) == 2
    assert "dev.csv:3: label 'great' is not among those of the training data" in capsys.readouterr().err
    assert main([*command, "--skip-bad-rows"]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "dev.csv:3" in out and "skipped 1" in out
    for path in (here / "out").rglob("*"):
        if path.suffix in (".json", ".md", ".csv"):
            assert str(here) not in path.read_text(), path  # no path of the machine is in what people pass on


def test_long_texts_are_cut_and_counted(here, capsys):
    data = write_lines(here / "data.csv", ["text,label", f"{'good ' * 200},good", "bad,bad"])
    assert main(["train", "text-classification", "--data", str(data), "--epochs", "1", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out")]) == 0  # fmt: skip
    assert f"1 of 2 texts longer than {TINY['max_position_embeddings']} tokens were cut" in capsys.readouterr().out


def test_thresholds_are_tuned_and_folded_into_the_bias(here):
    rng = np.random.default_rng(1)
    rows = [{"text": sentence(rng, i % 2), "labels": ["x"] if i % 5 == 0 else ["x", "y"][i % 2 : 2]} for i in range(60)]
    data = write_lines(here / "data.jsonl", [json.dumps(row) for row in rows])
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--epochs", "2", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 0  # fmt: skip
    results = json.loads((here / "out" / "training.json").read_text())
    classify = MobileBertPipeline.from_pretrained("text-classification", here / "out", top_k=None)
    answers = classify([row["text"] for row in rows])
    right = predicted = gold = 0
    for row, answer in zip(rows, answers, strict=True):
        found = {each["label"] for each in answer if each["score"] > 0.5}
        right, predicted, gold = (
            right + len(found & set(row["labels"])),
            predicted + len(found),
            gold + len(row["labels"]),
        )
    assert 2 * right / (predicted + gold) == pytest.approx(results["dev"]["f1_micro"], abs=0.02)


def test_thresholds_of_labels_that_are_probabilities(here):
    """A label counts from 0.5, for the thresholds as for the scores."""
    rows = [{"text": f"{w} film", "labels": {"x": p, "y": 0.9}} for w, p in (("good", 0.8), ("bad", 0.2)) * 4]
    data = write_lines(here / "data.jsonl", [json.dumps(row) for row in rows])
    assert main(["train", "text-classification", "--data", str(data), "--dev", str(data), "--epochs", "1", "--model",
                 str(here / "random" / "config.json"), "--output", str(here / "out"),
                 "--tune-thresholds"]) == 0  # fmt: skip
    assert json.loads((here / "out" / "training.json").read_text())["dev"]["f1_micro"] >= 0.8


def test_a_preset_and_a_checkpoint_as_start(here, checkpoint, capsys):
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)
    assert main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                 str(here / "random"), "--output", str(here / "out"), "--max-steps", "2"]) == 0  # fmt: skip
    card = (here / "out" / "README.md").read_text()
    assert (
        "newly initialized weights: `mobilebert.pooler.dense.weight`" in card
        and "`classifier.bias`" in card
        and "2 steps" in card
        and "there were no dev rows. This is the model of the last step." in card
    )
    assert "weights are random" not in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_paths_may_be_text(here, backend):
    """A text is a sequence of letters, none of which is a file."""
    data = str(write_task(here, "text-classification"))
    training = Training(task="text-classification", data=data, dev=data, model=str(here / "random" / "config.json"),
                        output=str(here / "out"), changes={"max_steps": 1}, max_length=12, backend=backend)  # fmt: skip
    assert training.run()["dev"] and (here / "out" / "model.safetensors").is_file()
    assert Training(task="text-classification", data=f"{here}/*.csv", model="", output="out").data == [f"{here}/*.csv"]
    assert Distillation(teacher="", student="", data=data, output="out").data == Path(data)


@pytest.mark.parametrize("command", [["train", "text-classification"], ["pretrain"], ["distill"]], ids="-".join)
def test_every_training_takes_the_fields_of_the_recipe(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # so that no line of the help is cut
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, help in RECIPE_HELP.items():
        there = name != "classifier_dropout" or command[0] == "train"
        assert (f"--{name.replace('_', '-')} " in shown) == (help in shown) == there, name
    assert "--optimizer {adamw,lamb}" in shown and "(default adamw)" in shown


def test_the_optimizer_is_the_one_that_is_passed(here):
    assert train(here, "text-classification", "out", "--max-steps", "1", "--optimizer", "lamb") == 0
    assert json.loads((here / "out" / "training.json").read_text())["settings"]["recipe"]["optimizer"] == "lamb"
    assert "torch, float32, lamb, 1 steps" in (here / "out" / "README.md").read_text()

"""`mobilebert train` as a user calls it: every task, both backends, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mobilebert import MobileBertPipeline
from mobilebert.cli import main
from mobilebert_core.saves import current
from tests.curves import curve
from tests.parity.train_tasks import TASKS, train, write_task


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_in_both_backends_alike(here, task, capsys):
    options = ("--epochs", "4", "--learning-rate", "3e-3", "--precision", "float64")
    curves = []
    for backend in ("torch", "keras"):
        assert train(here, task, backend, "--backend", backend, *options) == 0
        curves.append(curve(here / backend))
        results = json.loads((here / backend / "training.json").read_text())
        assert results["finished"] and results["dev"] and not (here / backend / "resume").exists()
        assert "Scores on" in (here / backend / "README.md").read_text()
        assert (here / backend / "curves.png").stat().st_size and "dev  " in capsys.readouterr().out
        # The scores of the model that was kept are those that were seen while it was trained.
        command = ["evaluate", task, str(write_task(here, task)), "--model", str(here / backend)]
        assert main([*command, "--backend", backend, "--dtype", "float64"]) == 0
        found, kept = json.loads(capsys.readouterr().out), results["dev"]
        assert found["rows"] == results["rows"]["dev"] and found["backend"] == backend
        assert found["scores"] == pytest.approx({n: kept[n] for n in kept if n not in ("step", "epoch")}, rel=1e-8)
    assert np.abs(curves[1] / curves[0] - 1).max() < 1e-8
    assert curves[0][-4:].mean() < curves[0][:4].mean()


def test_the_model_answers_with_its_labels(here):
    assert train(here, "text-classification", "out", "--epochs", "12", "--learning-rate", "5e-3") == 0
    for backend in ("torch", "keras"):
        classify = MobileBertPipeline.from_pretrained("text-classification", here / "out", backend=backend)
        assert [answer["label"] for answer in classify(["awful", "lovely"])] == ["bad", "good"]


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_saved(here):
    options = ["--epochs", "16", "--learning-rate", "1e-3", "--save-every", "7", "--set", "hidden_dropout_prob=0.1",
               "attention_probs_dropout_prob=0.1"]  # fmt: skip
    assert train(here, "text-classification", "whole", *options) == 0
    command = [sys.executable, "-c",
               "import sys, tests.parity.train_tasks as t; from pathlib import Path;"
               "sys.exit(t.train(Path(sys.argv[1]), 'text-classification', 'killed', *sys.argv[2:]))",
               str(here), *options]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    while len(curve(here / "killed")) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = len(curve(here / "killed"))
    saved = json.loads(current(here / "killed" / "resume" / "progress.json").read_text())["step"]  # or on its way there
    assert 0 < saved < len(curve(here / "whole")) and before - saved < 7 + 1
    assert train(here, "text-classification", "killed", *options, "--resume") == 0
    assert np.array_equal(curve(here / "killed"), curve(here / "whole"))
    ours, theirs = (json.loads((here / name / "training.json").read_text()) for name in ("killed", "whole"))
    assert ours["dev"] == theirs["dev"] and ours["newly_initialized"] == theirs["newly_initialized"] != []
    ours, theirs = (load_file(here / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_resuming_wants_the_same_settings(here, capsys):
    assert train(here, "fill-mask", "out", "--epochs", "1") == 0
    assert train(here, "fill-mask", "out", "--epochs", "1") == 2
    assert "holds a training already. Pass --resume" in capsys.readouterr().err
    assert train(here, "fill-mask", "out", "--epochs", "2", "--resume") == 2
    assert "was trained with other settings (recipe epochs was 1, now 2)" in capsys.readouterr().err
    assert train(here, "fill-mask", "out", "--epochs", "1", "--resume") == 0  # finished: told again


CHANGES = {
    "vocabulary": ("vocab.txt", "tokenizer: vocab.txt has changed"),
    "tokenizer": ("tokenizer_config.json", "tokenizer: tokenizer_config.json is new"),
    "configuration": ("config.json", "model: config.json has changed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resuming_wants_the_same_files(here, change, capsys):
    assert train(here, "text-classification", "out", "--max-steps", "1") == 0
    name, message = CHANGES[change]
    with (here / "random" / name).open("a") as file:
        file.write({"vocab.txt": "newword\n", "config.json": "\n"}.get(name, "{}"))
    before = (here / "out" / "training.json").read_bytes()
    assert train(here, "text-classification", "out", "--max-steps", "1", "--resume") == 2
    assert f"was trained with other settings ({message})" in capsys.readouterr().err
    assert (here / "out" / "training.json").read_bytes() == before


def test_resuming_wants_the_same_weights_wherever_they_are(here, checkpoint, capsys):
    data = write_task(here, "text-classification")
    start = checkpoint("MaskedLM", vocab_size=8000)

    def run(*options):
        return main(["train", "text-classification", "--data", str(data), "--model", str(start), "--tokenizer",
                     str(here / "random"), "--output", str(here / "out"), "--max-steps", "2", *options])  # fmt: skip

    assert run() == 0
    (here / "moved").mkdir()
    start = start.rename(here / "moved" / start.name)
    assert run("--resume") == 0
    weights = start / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert run("--resume") == 2
    assert "model: model.safetensors has changed" in capsys.readouterr().err


def test_a_full_disk_leaves_the_last_state(here, capsys, monkeypatch):
    from mobilebert_core.training import run_directory

    written, save_file = [], run_directory.save_file

    def full_disk(arrays, path):
        written.append(path)
        if len(written) > 2:
            raise run_directory.SafetensorError("IoError(No space left on device)")
        save_file(arrays, path)

    monkeypatch.setattr(run_directory, "save_file", full_disk)
    options = ("--epochs", "2", "--save-every", "2")
    assert train(here, "text-classification", "out", *options) == 2
    assert "the state cannot be saved (IoError(No space left on device)); the one before" in capsys.readouterr().err
    assert json.loads((here / "out" / "resume" / "progress.json").read_text())["step"] == 4
    assert not list((here / "out").glob(".resume*"))
    monkeypatch.undo()
    assert train(here, "text-classification", "out", *options, "--resume") == 0
    assert len(curve(here / "out")) == 10


def test_a_swept_learning_rate_is_kept_when_resumed(here, capsys, monkeypatch):
    from mobilebert_core.training import defaults

    monkeypatch.setattr(defaults, "RATES", (1e30, 3e-3))  # the first ends in no number
    options = ("--learning-rate", "sweep", "--epochs", "2")
    assert train(here, "text-classification", "out", *options) == 0
    results = json.loads((here / "out" / "training.json").read_text())
    assert results["settings"]["recipe"]["learning_rate"] == 3e-3 and list(results["settings"]["sweep"]) == ["0.003"]
    assert "learning rate 0.003 by a sweep" in capsys.readouterr().out
    assert "by a sweep" in (here / "out" / "README.md").read_text()
    monkeypatch.setattr(defaults, "RATES", ())  # nothing is tried again
    assert train(here, "text-classification", "out", *options, "--resume") == 0
    assert train(here, "text-classification", "out", "--epochs", "2", "--resume") == 2
    assert "was trained with other settings" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(here, "text-classification", "other", "--learning-rate", "fast")

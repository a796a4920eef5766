"""Ctrl-C, and SIGTERM as batch systems send it: a training goes on from the step that was computed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mobilebert.cli import main
from mobilebert.commands import vocab
from mobilebert.commands.termination import Terminated, raised_at_sigterm
from mobilebert_core.saves import current
from mobilebert_core.training.evaluation import Evaluation
from mobilebert_core.training.interruption import Interruption
from mobilebert_core.training.loop import TrainingLoop
from tests.parity.train_tasks import signalled, train

ROOT = Path(__file__).parents[2]
DROPOUT = ("--set", "hidden_dropout_prob=0.1", "attention_probs_dropout_prob=0.1")
OPTIONS = ("--epochs", "2", "--learning-rate", "1e-3", *DROPOUT)  # ten steps
CODES = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}


def check_whole(one, other):
    for name in ("curves.csv", "scores.csv", "model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (json.loads((folder / "training.json").read_text()) for folder in (one, other))
    assert ours == theirs and not (one / "resume").exists()


@pytest.mark.parametrize(
    ("backend", "number", "cuts"),
    [
        ("torch", signal.SIGTERM, ((3, 3), (2, 5))),  # inside of an epoch, and in its last step
        ("torch", signal.SIGINT, ((3, 3),)),
        pytest.param("keras", signal.SIGTERM, ((3, 3),), marks=pytest.mark.slow),
    ],
)
def test_a_training_that_was_told_to_end_goes_on(here, monkeypatch, capsys, backend, number, cuts):
    options = (*OPTIONS, "--backend", backend)
    assert train(here, "text-classification", "whole", *options) == 0
    code, said = CODES[number]
    for at, step in cuts:
        resume = ["--resume"] if (here / "cut").exists() else []
        with monkeypatch.context() as patched:
            calls = signalled(patched, TrainingLoop, "_batch", number, at)
            assert train(here, "text-classification", "cut", *options, *resume) == code
        last = f"mobilebert: {said}; step {step} of 10 is saved; the same command with --resume goes on"
        assert len(calls) == at and capsys.readouterr().err.splitlines()[-1] == last
        assert not [*(here / "cut").glob(".*")]
    assert train(here, "text-classification", "cut", *options, "--resume") == 0
    check_whole(here / "cut", here / "whole")


def test_an_evaluation_that_was_told_to_end_comes_again(here, monkeypatch, capsys):
    assert train(here, "text-classification", "whole", *OPTIONS) == 0
    with monkeypatch.context() as patched:
        signalled(patched, Evaluation, "__call__", signal.SIGTERM, at=2)
        assert train(here, "text-classification", "scores", *OPTIONS) == 143
    assert "terminated; step 10 of 10 is saved" in capsys.readouterr().err
    progress = json.loads(current(here / "scores" / "resume" / "progress.json").read_text())
    assert progress["step"] == 10 and progress["evaluation_due"]
    assert train(here, "text-classification", "scores", *OPTIONS, "--resume") == 0
    check_whole(here / "scores", here / "whole")


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.pending
        signal.raise_signal(signal.SIGINT)
        pytest.fail("waited")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_comes_before_the_end_of_the_block_is_not_lost():
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(Terminated), raised_at_sigterm(), Interruption() as interruption:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert interruption.pending
    with pytest.raises(Terminated), raised_at_sigterm():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # while things are put in order
            cleared = True
    assert cleared and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption, interruption.at_once():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("waited")


def test_signals_are_left_alone_where_others_may_wait_for_this_process(monkeypatch):
    with pytest.raises(KeyboardInterrupt), Interruption(waits=False):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("waited")
    before = signal.getsignal(signal.SIGTERM)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with raised_at_sigterm():
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_vocabulary_is_not_waited_for(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(vocab, "train_vocabulary", lambda *_, **__: seen.extend(map(signal.getsignal, CODES)) or 5)
    (tmp_path / "text.txt").write_text("a text\n")
    assert main(["vocab", "train", str(tmp_path / "text.txt"), "--size", "60"]) == 0
    assert seen == [signal.SIG_DFL] * 2 and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_may_run_commands(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["inspect", "nowhere/at/all"])))
    thread.start()
    thread.join()
    assert codes == [2] and "nowhere/at/all" in capsys.readouterr().err


def test_process_1_hears_the_signal_while_modules_are_loaded():
    """Without a handler of its own Linux would drop it."""
    code = "import os, signal; own = os.getpid(); os.getpid = lambda: 1; import mobilebert.commands; os.kill(own, 15)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (143, "mobilebert: terminated\n")

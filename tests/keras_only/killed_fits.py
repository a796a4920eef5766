"""Runs of `fit` that are killed and go on, each in a fork of one process that has imported the frameworks.

`python -m tests.keras_only.killed_fits DIRECTORY` writes what each run trained there. TensorFlow starts its threads
with its first operation, which is in the forks alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from mobilebert_tf import ResumeTraining
from tests.keras_only.fitting import build, data, plain, weights_of

# Who makes the backups, how often, the dropout, and after how many batches of the three epochs of 6 it is killed.
CASES = {
    "ours-2": ("ours", 2, 0.0, 9),
    "ours-dropout": ("ours", 1, 0.2, 10),
    "keras": ("keras", "epoch", 0.0, 9),
}


class Stopped(keras.callbacks.Callback):
    """Says that the batch is reached, and waits to be killed."""

    def __init__(self, at: int, say: int) -> None:
        super().__init__()
        self.at, self.say, self.steps = at, say, 0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps += 1
        if self.steps == self.at:
            os.write(self.say, b"ready")
            time.sleep(600)


def train(out: Path, dropout: float, callbacks: list[keras.callbacks.Callback]) -> None:
    x, y = data("SequenceClassification", batch=24)
    model = build("SequenceClassification", hidden_dropout_prob=dropout, classifier_dropout=dropout)
    model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0), metrics=["accuracy"])
    fit = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0}
    history = model.fit(x, plain(y), callbacks=callbacks, **fit).history
    np.savez(out, *weights_of(model), loss=history["loss"], steps=int(model.optimizer.iterations))


def forked(act: Callable[[int], None], kill: bool = False) -> None:
    """Runs `act` in a fork; with `kill`, until it has written to the pipe that it gets."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            act(write)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    if kill:
        assert os.read(read, 5) == b"ready"
        os.kill(child, signal.SIGKILL)
    os.close(read)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if kill else 0), status


def run(folder: Path) -> None:
    for dropout in {dropout for _, _, dropout, _ in CASES.values()}:
        forked(lambda _, dropout=dropout: train(folder / f"whole-{dropout}.npz", dropout, []))
    for name, (kind, frequency, dropout, kill_at) in CASES.items():

        def backup(name=name, kind=kind, frequency=frequency) -> keras.callbacks.Callback:
            keeps = ResumeTraining if kind == "ours" else keras.callbacks.BackupAndRestore
            return keeps(folder / name, save_freq=frequency)

        def killed(say: int, backup=backup, dropout=dropout, kill_at=kill_at) -> None:
            train(folder / "killed.npz", dropout, [backup(), Stopped(kill_at, say)])

        def resumed(_: int, backup=backup, dropout=dropout, name=name) -> None:
            train(folder / f"resumed-{name}.npz", dropout, [backup()])

        forked(killed, kill=True)
        forked(resumed)


if __name__ == "__main__":
    run(Path(sys.argv[1]))

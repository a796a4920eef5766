"""Keras's callbacks on our models, and runs that were killed and go on."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_tf import ResumeTraining
from tests.keras_only.fitting import build, data, plain, weights_of
from tests.keras_only.killed_fits import CASES


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder in which every case was run whole, killed and resumed."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.keras_only.killed_fits", str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("killed_fits")
@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_goes_on_to_the_same_weights(runs, case):
    """6 batches an epoch, killed after the third or fourth of the second; with dropout too, which ours restores."""
    whole, resumed = np.load(runs / f"whole-{CASES[case][2]}.npz"), np.load(runs / f"resumed-{case}.npz")
    assert whole["steps"] == resumed["steps"] == 18 and whole.files == resumed.files
    for key in whole.files:
        if key.startswith("arr"):
            assert np.array_equal(whole[key], resumed[key])
    np.testing.assert_allclose(whole["loss"][1:], resumed["loss"], rtol=1e-6)  # of the epochs that the second run ends
    assert not (runs / case).exists() and not (runs / "killed.npz").exists()


class Interrupted(Exception):
    pass


class InterruptAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Interrupted


def trained(callbacks=(), steps_per_execution=1):
    x, y = data("SequenceClassification", batch=24)
    model = build("SequenceClassification")
    model.compile(keras.optimizers.Adam(1e-3), steps_per_execution=steps_per_execution)
    history = model.fit(
        x, plain(y), batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)
    ).history
    return model, history


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "at"), [(1, (1, 5)), (2, (1, 3)), (1, (0, 2))])
def test_resuming_at_any_batch(tmp_path, steps, at):
    """Also when the last batch of an epoch was saved but its end never got, and several batches in one call."""
    expected, history = trained(steps_per_execution=steps)
    with pytest.raises(Interrupted):
        trained([ResumeTraining(tmp_path, 1), InterruptAt(*at)], steps)
    assert ResumeTraining.epoch_in(tmp_path) == at[0]
    model, resumed = trained([ResumeTraining(tmp_path, 1, delete_checkpoint=False)], steps)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(expected), weights_of(model), strict=True))
    np.testing.assert_allclose(resumed["loss"], history["loss"][at[0] :], rtol=1e-6)
    x, y = data("SequenceClassification", batch=24)
    assert len(model.fit(x, plain(y), epochs=2, verbose=0).history["loss"]) == 2  # another run begins at the beginning
    assert len(list(tmp_path.iterdir())) == 3


def test_backups_that_cannot_be_used(tmp_path):
    for wrong in (0, -1, True, "batch"):
        with pytest.raises(ConfigError, match="save_freq must be 'epoch' or a number of batches"):
            ResumeTraining(tmp_path, wrong)
    assert ResumeTraining.epoch_in(tmp_path / "none") == 0
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="wanted a backup of ResumeTraining, got no JSON"):
        trained([ResumeTraining(tmp_path)])


def test_damaged_backups_are_refused(tmp_path):
    """Of the files beside its state nothing told a wrong bit: training went on with other weights, without a word."""
    model = build("SequenceClassification")
    model.compile("adam")

    def backup(folder):
        callback = ResumeTraining(folder, delete_checkpoint=False)
        callback.set_model(model)
        return callback

    backup(tmp_path).on_epoch_end(0)
    backup(tmp_path).on_train_begin()
    assert ResumeTraining.epoch_in(tmp_path) == 1
    state = (tmp_path / "state.json").read_bytes()
    for place in range(len(state)):
        (tmp_path / "state.json").write_bytes(flipped(state, place))
        with pytest.raises(CheckpointError, match="wanted a backup of ResumeTraining, got"):
            ResumeTraining.epoch_in(tmp_path)
    (tmp_path / "state.json").write_bytes(state)
    names = sorted({path.name for path in tmp_path.iterdir()} - {"state.json"})
    for name in names:
        content = (tmp_path / name).read_bytes()
        for other in (
            flipped(content, len(content) // 2),
            content[:-1],
            b"",
            (tmp_path / names[0]).read_bytes() + b" ",
        ):
            (tmp_path / name).write_bytes(other)
            with pytest.raises(CheckpointError, match=f"got another {name}"):
                backup(tmp_path).on_train_begin()
        (tmp_path / name).unlink()
        with pytest.raises(CheckpointError, match=f"got none of the name {name}"):
            backup(tmp_path).on_train_begin()
        (tmp_path / name).write_bytes(content)
    earlier = json.loads(state)  # as versions before 0.1.0 wrote it
    del earlier["sha256"], earlier["state_sha256"]
    (tmp_path / "state.json").write_text(json.dumps(earlier))
    (tmp_path / names[0]).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="got one that does not fit the model, or is damaged"):
        backup(tmp_path).on_train_begin()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.slow
def test_keras_callbacks(tmp_path):
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile(keras.optimizers.SGD(0.5), metrics=["accuracy"])
    rates = [0.0, 0.1, 0.1, 50.0, 50.0]  # the last two ruin the model
    history = model.fit(
        x, plain(y), validation_data=(x, plain(y)), batch_size=8, epochs=5, verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch]),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
        ],
    ).history  # fmt: skip
    assert history["learning_rate"] == pytest.approx(rates[: len(history["loss"])])
    best = int(np.argmin(history["val_loss"]))
    assert model.evaluate(x, plain(y), verbose=0)[0] == pytest.approx(history["val_loss"][best], rel=1e-5)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(model), weights_of(loaded), strict=True))
    fresh = build("SequenceClassification", seed=1)
    fresh.load_weights(tmp_path / f"{best + 1}.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(model), weights_of(fresh), strict=True))
    with open(tmp_path / "log.csv", newline="") as file:
        logged = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert logged == pytest.approx(history["val_loss"])


def test_tensorboard(tmp_path):
    """Its package is none of ours: without it TensorFlow says what is missing."""
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile(keras.optimizers.SGD(0.1))
    callback = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    fit = {"validation_data": (x, plain(y)), "epochs": 2, "verbose": 0, "callbacks": [callback]}
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(Exception, match="TensorBoard is not installed"):
            model.fit(x, plain(y), **fit)
        return
    model.fit(x, plain(y), **fit)
    tags = set()
    for path in tmp_path.rglob("*tfevents*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {(path.parent.name, value.tag) for value in event.summary.value}
    assert {("train", "epoch_loss"), ("validation", "epoch_loss")} <= tags


def test_a_loss_that_is_no_number_ends_the_run():
    x, y = data("SequenceClassification")
    model = build("SequenceClassification")
    model.compile(keras.optimizers.SGD(1e30))
    history = model.fit(
        x, plain(y), epochs=10, batch_size=4, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()]
    ).history
    assert len(history["loss"]) < 10 and np.isnan(history["loss"][-1])


@pytest.mark.slow
def test_a_loaded_model_trains_on_exactly(tmp_path):
    x, y = data("PreTraining")
    finals = []
    for interrupted in (False, True):
        model = build("PreTraining")
        schedule = keras.optimizers.schedules.PolynomialDecay(1e-2, 10)
        model.compile(keras.optimizers.AdamW(schedule, global_clipnorm=1.0, use_ema=True), metrics=["accuracy"])
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
        if interrupted:
            model.save(tmp_path / "model.keras")
            model = keras.models.load_model(tmp_path / "model.keras")
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
        finals.append([*weights_of(model), *(v.numpy() for v in model.optimizer.variables)])
    assert all(np.array_equal(a, b) for a, b in zip(*finals, strict=True))


def test_other_backends_are_backed_up_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    """Their loops call the train function with other arguments."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="on Keras with jax wanted backups at the end of epochs, got save_freq=5"):
        ResumeTraining(tmp_path, 5)
    (tmp_path / "state.json").write_text('{"epoch": 0, "batch": 3, "weights": "x"}')
    with pytest.raises(ConfigError, match="got a backup of batch 3"):
        ResumeTraining(tmp_path).on_train_begin()

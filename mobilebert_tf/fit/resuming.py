"""Training that goes on where it was interrupted, at the very batch.

Keras's own `BackupAndRestore` restarts the epoch that was interrupted: with `save_freq` in batches its weights have
then seen the first batches twice. It writes weights and epoch one after the other, so that a kill in between repeats a
whole epoch. Here neither happens.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from mobilebert_core.errors import CheckpointError, ConfigError, first_line
from mobilebert_core.files import read_json, sha256, write_text
from mobilebert_core.saves import current, saving
from mobilebert_core.training.run_checks import digest_of, digests_of

from ..keras_on_torch import generator_states, set_generator_states
from ..variables import seed_generators, variable_array

_STATE = "state.json"
_DIGESTS = "sha256"  # in it, of the other files by name
_OWN_DIGEST = "state_sha256"  # in it, of all that stands beside it


class ResumeTraining(keras.callbacks.Callback):
    """Backs a run up and, after an interruption, goes on with the batch that comes next.

    Saved are weights, optimizer, the states of random numbers and the place in the epoch. When the same script is
    started again with the same `backup_dir`, the batches that were trained on are read and skipped.
    The loss of that epoch counts all its batches, other metrics those that were left. The weights become those of a
    run without interruption, if the data come in the same order again: `shuffle=False`, or a dataset whose order
    follows from the epoch alone, like `text_dataset` with a seed and
    `first_pass=ResumeTraining.epoch_in(backup_dir)`. A backup appears whole or not at all.

    Args:
        save_freq: "epoch", or on TensorFlow a number of batches.
        delete_checkpoint: removes the backup when training is over.

    Raises:
        ConfigError: for another `save_freq`.
        CheckpointError: when training begins, for a backup that is damaged or of another model.
    """

    def __init__(
        self, backup_dir: str | os.PathLike[str], save_freq: str | int = "epoch", delete_checkpoint: bool = True
    ) -> None:
        super().__init__()
        whole = isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0
        if save_freq != "epoch" and not whole:
            raise ConfigError(f"ResumeTraining: save_freq must be 'epoch' or a number of batches, got {save_freq!r}.")
        if whole:
            _check_backend(f"save_freq={save_freq}")
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self._epoch = 0
        self._trained = 0  # batches of the epoch so far
        self._saved_at = 0
        self._to_skip = 0
        self._loss: list[np.ndarray] = []

    @staticmethod
    def epoch_in(backup_dir: str | os.PathLike[str]) -> int:
        """The number of the epoch, from 0, with which a run on this backup goes on; 0 without one."""
        return _state(Path(backup_dir)).get("epoch", 0)

    def on_train_begin(self, logs: Any = None) -> None:
        state = _state(self.backup_dir)
        if not state:
            return
        if state["batch"]:
            _check_backend(f"a backup of batch {state['batch']} in {self.backup_dir}")
        stored = _load(self.backup_dir, state, self.model)
        beside = [stored.pop(str(i)) for i in range(sum(name.isdigit() for name in stored))]
        seeds = [generator.state for generator in seed_generators(self.model)]
        for variable, array in zip(seeds, beside, strict=False):
            variable.assign(array)
        set_generator_states(stored)
        self._loss = beside[len(seeds) :]
        self.model._initial_epoch = state["epoch"]  # as Keras's own callback does it
        self._to_skip = state["batch"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._trained = self._saved_at = self._to_skip
        if not self._to_skip:
            return
        train = self.model.train_function
        for variable, array in zip(self.model.metrics[0].variables, self._loss, strict=False):
            variable.assign(array)

        def skip(iterator: Any) -> dict[str, Any]:
            for _ in range(min(self.model.steps_per_execution, self._to_skip)):
                next(iterator, None)
                self._to_skip -= 1
            if not self._to_skip:
                self.model.train_function = train
            loss = self.model.metrics[0]  # the others have seen nothing yet
            return {loss.name: loss.result()}

        self.model.train_function = skip

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch < self._trained:
            return
        self._trained = batch + 1
        if isinstance(self.save_freq, int) and self._trained - self._saved_at >= self.save_freq:
            self._save(self._epoch, self._trained)
            self._saved_at = self._trained

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Any = None) -> None:
        self.model._initial_epoch = None  # the next call of fit is another run
        if self.delete_checkpoint and self.backup_dir.is_dir():
            (self.backup_dir / _STATE).unlink(missing_ok=True)  # first, so that a kill leaves no part of a backup
            shutil.rmtree(self.backup_dir)

    def _save(self, epoch: int, batch: int) -> None:
        """Writes a backup that takes the place of the last one."""
        seeds = [generator.state for generator in seed_generators(self.model)]
        beside = [*seeds, *self.model.metrics[0].variables]  # Keras's files of weights have neither
        arrays: dict[str, Any] = {str(i): variable_array(v) for i, v in enumerate(beside)} | generator_states()
        with saving(self.backup_dir) as save:
            path = save.stage / f"epoch-{epoch}-batch-{batch}.weights.h5"
            self.model.save_weights(path)
            np.savez(path.with_suffix(".npz"), **arrays)
            state = {"epoch": epoch, "batch": batch, "weights": path.name, _DIGESTS: digests_of(save.stage)}
            write_text(save.stage / _STATE, json.dumps({**state, _OWN_DIGEST: digest_of(state)}))
            save.stale.add(re.compile(r"epoch-.*"))


def _check_backend(got: str) -> None:
    """Batches are skipped in the middle of an epoch, for which other backends' loops have no such place."""
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"ResumeTraining: on Keras with {keras.backend.backend()} wanted backups at the end of epochs, got {got}. "
            "Pass save_freq='epoch', or run Keras on TensorFlow."
        )


def _state(backup_dir: Path) -> dict[str, Any]:
    """The place in a run at which a backup was made; empty where there is none."""
    path = current(backup_dir / _STATE)
    if not path.is_file():
        return {}
    try:
        state = read_json(path)
    except CheckpointError as e:
        raise _refused(backup_dir, f"no JSON that can be read: {e}") from None
    own = state.pop(_OWN_DIGEST, None)
    numbers, name, digests = [state.get("epoch"), state.get("batch")], state.get("weights"), state.get(_DIGESTS, {})
    right = all(type(each) is int and each >= 0 for each in numbers) and isinstance(digests, dict)
    right = right and isinstance(name, str) and Path(name).name == name
    if not right or own != (digest_of(state) if digests else None):  # versions before 0.1.0 wrote neither
        raise _refused(backup_dir, f"another {_STATE}")
    return state


def _load(backup_dir: Path, state: dict[str, Any], model: keras.Model) -> dict[str, np.ndarray]:
    """Loads the weights of a backup and returns the arrays beside them."""
    for name, digest in state.get(_DIGESTS, {}).items():
        path = current(backup_dir / name)
        if not path.is_file() or sha256(path) != digest:
            raise _refused(backup_dir, f"another {name}" if path.is_file() else f"none of the name {name}")
    path = current(backup_dir / state["weights"])
    try:
        with np.load(path.with_suffix(".npz")) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        model.load_weights(path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as e:
        raise _refused(backup_dir, f"one that does not fit the model, or is damaged ({first_line(e)})") from e
    return stored


def _refused(backup_dir: Path, got: str) -> CheckpointError:
    return CheckpointError(
        f"{backup_dir}: wanted a backup of ResumeTraining, got {got}. Put the right file back, or remove the directory "
        "to begin anew."
    )

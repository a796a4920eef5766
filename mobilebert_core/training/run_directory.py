"""What a training leaves on disk while it runs, so that one that is killed goes on where it last saved.

OUTPUT/training.json     the settings, and in the end the scores
OUTPUT/curves.csv        a line a step: step, epoch, learning_rate, loss, and what a training in stages adds
OUTPUT/scores.csv        a line an evaluation
OUTPUT/resume/           the last saved state; gone when the training has ended
OUTPUT/.best.json        digests of the best model so far, for one who goes on; gone when the training has ended
OUTPUT/.lock             keeps other processes out while one trains
OUTPUT/...               the best model so far, ready for from_pretrained
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..checkpoints.digests import changed_files
from ..errors import CheckpointError, ConfigError
from ..file_lock import DirectoryLock, refuse
from ..files import read_json, write_text
from ..places import check_directory
from ..saves import STAGE, clear, current, saving
from .array_file import save_file
from .run_checks import (
    check_best,
    check_curve,
    check_files,
    check_progress,
    check_scores,
    check_settings,
    check_written,
    damaged,
    digest_of,
    digests_of,
    read_curves,
    written_until,
)

SETTINGS_FILE = "training.json"
CURVES_FILE = "curves.csv"
SCORES_FILE = "scores.csv"
RESUME = "resume"
_STATE_FILE = "state.safetensors"
PROGRESS_FILE = "progress.json"
BEST_FILE = ".best.json"
_OWN_DIGEST = "progress_sha256"  # of all that stands beside it
_WRITTEN = "written"  # in the progress, of each curve what was written when the state was saved
DIGESTS = "sha256"  # the setting with digests by file name, of the model and of the tokenizer
_CURVES = ("step", "epoch", "learning_rate", "loss")


def scores_in(found: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of an evaluation, without the place in the training at which it was made."""
    return {name: value for name, value in found.items() if name not in ("step", "epoch")}


class RunDirectory:
    """The files of one training in its output directory. Nothing is written before `begin`.

    Where a training is already, what a killed one has left half-written is removed at once. In every other directory
    nothing is touched.

    Args:
        settings: all that decides the numbers; a training only goes on under equal ones.
        resume: go on with what is there; else the directory must hold no training.
        columns: of the curves, beside those that every training has; a line may leave them empty.

    Raises:
        ConfigError: when there is a training already, or one with other settings, or another process trains there.
        CheckpointError: when what is to be gone on with is damaged.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], resume: bool, columns: Sequence[str] = ()) -> None:
        self.output = output
        self.columns = (*_CURVES, *columns)
        self.settings = json.loads(json.dumps(dict(settings)))
        self._curves: TextIO | None = None
        self._written: dict[str, Any] = {}
        self.finished = False
        there = output / SETTINGS_FILE
        check_directory(output, "--output")
        self._lock = DirectoryLock(output)
        self._lock.check()  # before anything that another process may just be writing is touched
        if there.exists():
            self._restore_interrupted()
        self._seen = self._begun()
        begun = {SETTINGS_FILE, CURVES_FILE, SCORES_FILE, DirectoryLock.name}
        if there.exists() and {path.name for path in output.iterdir()} <= begun:
            return  # it ended before it saved anything: there is nothing to go on from, and nothing to lose
        if there.exists():
            if not resume:
                raise ConfigError(f"{output}: holds a training already. Pass --resume to go on, or another --output.")
            found = read_json(there)
            check_settings(there, found)
            self._check_same(found["settings"])
            self.finished = found.get("finished", False)
            if self.finished:
                self._remove_left()
            self._check_state()
        elif output.is_dir() and any(not _of_a_start(path) for path in output.iterdir()):
            raise ConfigError(f"{output}: wanted a new or empty directory, got one that holds files. Choose another.")

    def _check_same(self, before: Mapping[str, Any]) -> None:
        """Raises ConfigError naming each setting that is another; of digests, the files."""
        names = sorted({*before, *self.settings})
        said: list[str] = []
        for name in (name for name in names if before.get(name) != self.settings.get(name)):
            earlier, now = before.get(name), self.settings.get(name)
            if name == DIGESTS and isinstance(earlier, dict) and isinstance(now, dict):
                said += [f"{what}: {change}" for what in now for change in changed_files(earlier.get(what), now[what])]
            else:
                said += _differences(name, earlier, now)
        if said:
            raise ConfigError(
                f"{self.output}: was trained with other settings ({'; '.join(said)}). Resume with the same, or choose "
                "another --output."
            )

    # ------------------------------------------------------------------------------------------- state

    def save(self, trainer: Any, progress: Mapping[str, Any]) -> None:
        """Weights, moments and progress, which together take the place of the last ones."""
        try:
            with saving(self.output / RESUME) as save:
                trainer.save(save.stage)
                save_file(trainer.state(), save.stage / _STATE_FILE)
                if self._curves is not None:
                    self._curves.flush()
                last = progress["step"] - bool(progress.get("evaluation_due", False))  # one that is made again
                written = written_until(last, self.output / CURVES_FILE, self.output / SCORES_FILE)
                whole = {**progress, DIGESTS: digests_of(save.stage), _WRITTEN: written}
                write_text(save.stage / PROGRESS_FILE, json.dumps({**whole, _OWN_DIGEST: digest_of(whole)}))
        except SafetensorError as e:  # what it makes of a full disk
            before = "the one before is kept" if (self.output / RESUME).exists() else "there is none before"
            raise CheckpointError(f"{self.output}: the state cannot be saved ({e}); {before}.") from None

    def keep(self, trainer: Any, tokenizer: Any, **how: Any) -> None:
        """The best model so far and its tokenizer, which together take the place of the last ones.

        Args:
            how: as in `TrainerBase.save`.
        """
        with saving(self.output) as save:
            trainer.save(save.stage, **how)
            tokenizer.save_pretrained(save.stage)
            write_text(save.stage / BEST_FILE, json.dumps(digests_of(save.stage)))

    @property
    def saved(self) -> Path | None:
        """The directory of the last saved state, or None before the first."""
        place = self.output / RESUME
        return place if place.exists() else None

    def _restore_interrupted(self) -> None:
        """Clears up after a training that was killed."""
        for folder in (self.output, self.output / RESUME):
            if folder.is_dir():
                clear(folder)

    def _remove_left(self) -> None:
        """Ends what `end` had begun when its process was killed."""
        lock = self.output / DirectoryLock.name
        if self.saved is None and not lock.exists():
            return
        self._lock.take()
        shutil.rmtree(self.output / RESUME, ignore_errors=True)
        self._lock.release()

    def _check_state(self) -> None:
        """Raises CheckpointError for a saved state that is not what was saved."""
        if self.finished or self.saved is None:
            return
        progress = read_json(self.saved / PROGRESS_FILE)
        check_progress(self.saved / PROGRESS_FILE, progress)
        check_files(self.saved, progress.get(DIGESTS), PROGRESS_FILE)
        own = progress.pop(_OWN_DIGEST, None)
        if own is not None and own != digest_of(progress):
            damaged(self.saved / PROGRESS_FILE, "the progress that was saved", "another")
        self._written = progress.get(_WRITTEN, {})
        if progress["best"]:
            check_best(self.output, self.output / BEST_FILE)

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """State and progress as last saved.

        Raises:
            CheckpointError: when they are damaged.
        """
        place = self.output / RESUME
        try:
            progress = read_json(current(place / PROGRESS_FILE))
            del progress[DIGESTS]
            for name in (_OWN_DIGEST, _WRITTEN):
                progress.pop(name, None)
            return load_file(current(place / _STATE_FILE)), progress
        except (OSError, KeyError, SafetensorError) as e:
            raise CheckpointError(
                f"{place}: the saved state cannot be read ({e}). Train anew into another --output."
            ) from None

    # ------------------------------------------------------------------------------------------ curves

    def begin(self, step: int) -> None:
        """Opens the curves at a step, counted from 0; what stands there of later ones goes.

        Raises:
            CheckpointError: for curves that do not lead to that step; nothing is changed then.
            ConfigError: when another process has begun here meanwhile.
        """
        kept, scores = self._kept(step)
        Path(os.path.realpath(self.output)).mkdir(parents=True, exist_ok=True)  # also where a link leads to nothing yet
        self._lock.take()
        if self._begun() != self._seen:
            self._lock.release()
            raise refuse(self.output)
        self.note()
        _write_csv(self.output / CURVES_FILE, self.columns, kept)
        if (self.output / SCORES_FILE).exists():
            _write_csv(self.output / SCORES_FILE, tuple(scores[0]) if scores else (), scores)
        self._curves = (self.output / CURVES_FILE).open("a", encoding="utf-8", newline="")

    def _kept(self, step: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of both curves up to a step; of later ones nothing is wanted.

        Raises:
            CheckpointError: for a curve that lacks a step or holds something else than numbers.
        """
        if step == 0:
            return [], []
        curve, scores = (
            [row for row in read_curves(self.output / name) if int(row["step"]) <= step]
            for name in (CURVES_FILE, SCORES_FILE)
        )
        check_curve(self.output / CURVES_FILE, curve, _CURVES, step, self.columns[len(_CURVES) :])
        check_scores(self.output / SCORES_FILE, scores)
        check_written(self._written, self.output / CURVES_FILE, self.output / SCORES_FILE)
        seen = [int(row["step"]) for row in scores]
        later = [row for n, row in enumerate(scores) if seen[n] > max(seen[:n], default=-1)]  # none stands twice
        return curve[:step], later

    def _begun(self) -> list[bytes]:
        """What another process that trains here would change."""
        places = (self.output / SETTINGS_FILE, self.output / RESUME / PROGRESS_FILE)
        return [path.read_bytes() if path.is_file() else b"" for path in places]

    def line(
        self, step: int, epoch: float, learning_rate: float, loss: float, more: Mapping[str, float] | None = None
    ) -> None:
        """Adds a line to the curves; `more` are values of `columns`."""
        assert self._curves is not None
        cells = [repr(more[name]) if more and name in more else "" for name in self.columns[len(_CURVES) :]]
        csv.writer(self._curves, lineterminator="\n").writerow(
            (step, f"{epoch:.6g}", f"{learning_rate:.9g}", repr(loss), *cells)
        )

    def scored(self, step: int, epoch: float, scores: Mapping[str, float]) -> None:
        rows = read_curves(self.output / SCORES_FILE)
        rows = [row for row in rows if int(row["step"]) < step]
        rows.append({"step": step, "epoch": f"{epoch:.6g}", **{n: repr(float(v)) for n, v in scores.items()}})
        _write_csv(self.output / SCORES_FILE, tuple(rows[-1]), rows)

    def note(self, **results: Any) -> None:
        """Writes training.json: the settings, and what there is to say of the results."""
        self.finished = bool(results.get("finished", False))
        write_text(self.output / SETTINGS_FILE, json.dumps({"settings": self.settings, **results}, indent=2) + "\n")

    def results(self) -> dict[str, Any]:
        """What training.json holds."""
        return read_json(self.output / SETTINGS_FILE)

    def close_curves(self) -> None:
        if self._curves is not None:
            self._curves.close()
            self._curves = None

    def close(self) -> None:
        """Closes what is open; another process may go on from here."""
        self.close_curves()
        self._lock.release()

    def end(self, **results: Any) -> None:
        """Records the results; the saved state goes."""
        self.close_curves()
        (self.output / BEST_FILE).unlink(missing_ok=True)
        self.note(**results, finished=True)
        shutil.rmtree(self.output / RESUME, ignore_errors=True)


def _differences(name: str, earlier: Any, now: Any) -> list[str]:
    """What is another in a setting; of a mapping, each key by itself."""
    if not isinstance(earlier, dict) or not isinstance(now, dict):
        return [f"{name} was {earlier!r}, now {now!r}"]
    keys = [key for key in dict.fromkeys([*earlier, *now]) if earlier.get(key) != now.get(key)]
    return [f"{name} {key} was {earlier.get(key)!r}, now {now.get(key)!r}" for key in keys]


def _of_a_start(path: Path) -> bool:
    """Whether a training that was killed before it wrote its settings may have left this; its next save removes it."""
    return path.name == DirectoryLock.name or path.name.startswith(STAGE)


def _write_csv(path: Path, names: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")

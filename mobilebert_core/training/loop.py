"""The training loop: reads rows in the drawn order, steps, saves, evaluates, and keeps the best model."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from ..errors import CheckpointError, TrainingError
from .interruption import Interruption
from .order import epoch_batches
from .ranks import ALONE, Ranks, is_in_blocks, lengths_of, rank_batch
from .recipe import Recipe
from .run_directory import RunDirectory
from .state import SAVE_EVERY
from .trainer import TrainerBase

EVALUATION = 1_000_003  # in place of an epoch, where masks for an evaluation are drawn


class Course(Protocol):
    """What changes in the middle of a training: objective, trained weights and learning rate, in stages."""

    @property
    def name(self) -> str:
        """Of the current stage."""

    def begin(self, step: int) -> None:
        """Makes the trainer ready for a step, counted from 0."""

    def learning_rate_at(self, step: int) -> float: ...

    def ends(self, done: int) -> bool:
        """Whether a stage ends after so many steps."""

    def chooses(self, done: int) -> bool:
        """Whether a model after so many steps may be the best: those of earlier stages do not count."""

    def cells(self) -> Mapping[str, float]:
        """What the curves say of the last step beside its loss."""


@dataclass
class TrainingLoop:
    """One training.

    Attributes:
        rows: what is learned from, each with its `length`.
        batch: makes arrays of rows; what is random in them comes from the generator.
        best_metric: the score by which the best model is chosen; a higher one is better unless `lower_is_better`.
        evaluate: scores of the trainer's model now, by name; None where there is nothing to evaluate on.
        keep: writes the model to the output directory, as the best so far.
        save_every: steps between two saved states; a kill loses at most so many.
        progress: True draws a bar on stderr, False none; None where stderr is a terminal.
        course: stages, in place of one objective and the recipe's learning rates.
        ranks: the processes that train together; each runs this loop, and steps with its rows of each batch.
        lengths: of the rows, in tokens.
    """

    trainer: TrainerBase
    rows: Sequence[Any]
    batch: Callable[..., dict[str, np.ndarray]]
    recipe: Recipe
    run_directory: RunDirectory
    keep: Callable[[], None]
    evaluate: Callable[[], dict[str, float]] | None = None
    best_metric: str = "loss"
    lower_is_better: bool = True
    save_every: int = SAVE_EVERY
    progress: bool | None = None
    course: Course | None = None
    ranks: Ranks = ALONE
    best: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lengths = lengths_of(self.rows)
        self._interruption = Interruption(waits=self.ranks.count == 1)
        self._evaluation_due = False  # of the step at which an evaluation was interrupted

    def run(self) -> dict[str, float]:
        """Trains to the end, from the last saved state if there is one; returns the best evaluation's scores.

        Ctrl-C, and SIGTERM where it is an exception, end a training of one process after its step, whose state is
        saved.

        Raises:
            TrainingError: when a loss is not finite.
            CheckpointError: for a saved state of another training.
        """
        steps = self.recipe.steps(len(self.rows))
        done = self._continue()
        self.run_directory.begin(done)
        hidden = None if self.progress is None else not self.progress
        try:
            with (
                self._interruption,
                tqdm(total=steps, initial=done, disable=hidden, file=sys.stderr, desc="train", unit="step") as bar,
            ):
                if self._evaluation_due:
                    self._end_step(done, steps)
                while done < steps:
                    done = self._epoch(done, steps, bar)
        finally:
            self.run_directory.close_curves()
        if self.evaluate is None:
            self.keep()
        return self.best

    def _continue(self) -> int:
        """Steps already done. The trainer's weights must be those of the saved state."""
        if self.run_directory.saved is None:
            return 0
        state, progress = self.run_directory.load()
        steps, best = self.recipe.steps(len(self.rows)), progress["best"]
        if progress["step"] > steps or (best and self.best_metric not in best):
            raise CheckpointError(
                f"{self.run_directory.saved}: wanted at most {steps:,} steps and the best {self.best_metric}, got "
                f"{progress['step']:,} and {', '.join(best) or 'none'}: it is the state of another training, or "
                "damaged. Train anew into another directory."
            )
        if self.course is not None and progress["step"]:
            self.course.begin(progress["step"] - 1)  # the stage that was saved
        self.trainer.restore(state)
        # Of the start: a saved state has every weight.
        self.trainer.newly_initialized = tuple(progress.get("newly_initialized", ()))
        self.best = best
        self._evaluation_due = progress.get("evaluation_due", False)
        return int(progress["step"])

    def _epoch(self, done: int, steps: int, bar: Any) -> int:
        each = self.recipe.steps_per_epoch(len(self.rows))
        epoch, at = divmod(done, each)
        batches = epoch_batches(self.lengths, self.recipe.batch_size, self.recipe.seed, epoch, is_in_blocks(self.rows))
        for place in range(at, min(each, steps - epoch * each)):
            group = batches[place * self.recipe.accumulate : (place + 1) * self.recipe.accumulate]
            rng = np.random.default_rng([self.recipe.seed, epoch, place])
            rate = self._begin_step(done, steps, bar)
            loss = self.trainer.step([self._batch(places, rng) for places in group], rate)
            done += 1
            if not math.isfinite(loss):
                saved = "the last saved state is left as it is" if self.run_directory.saved else "nothing is saved yet"
                raise TrainingError(
                    f"{self.run_directory.output}: the loss of step {done} is {loss}, wanted a finite one; {saved}. "
                    f"Lower the learning rate ({self.recipe.learning_rate:g}), or use float32."
                )
            cells = {} if self.course is None else self.course.cells()
            self.run_directory.line(done, done / each, rate, loss, cells)
            self._show(bar, loss, rate, cells)
            self._end_step(done, steps)
        return done

    def _end_step(self, done: int, steps: int) -> None:
        """Evaluates and saves where it is time for that, or where the training is to end."""
        each = self.recipe.steps_per_epoch(len(self.rows))
        ends = done == steps or done % each == 0 or (self.course is not None and self.course.ends(done))
        saved = f"step {done:,} of {steps:,} is saved"
        try:
            if ends:
                self._evaluate(done, done / each)
        except KeyboardInterrupt as e:
            if self.ranks.count == 1:
                self._save(done, evaluation_due=True)
                e.add_note(saved)
            raise
        if ends or self._interruption.pending or done % self.save_every == 0:
            self._save(done)
            self._interruption.end(saved)

    def _save(self, done: int, evaluation_due: bool = False) -> None:
        names = list(self.trainer.newly_initialized)
        progress = {"step": done, "best": self.best, "newly_initialized": names, "evaluation_due": evaluation_due}
        self.run_directory.save(self.trainer, progress)

    def _begin_step(self, done: int, steps: int, bar: Any) -> float:
        """The learning rate of the next step; where a stage begins, the trainer is made ready for it."""
        if self.course is None:
            return self.recipe.learning_rate_at(done, steps)
        self.course.begin(done)
        bar.set_description(self.course.name, refresh=False)
        return self.course.learning_rate_at(done)

    def _show(self, bar: Any, loss: float, rate: float, cells: Mapping[str, float]) -> None:
        terms = {name: f"{value:.3g}" for name, value in cells.items() if name != "stage"}
        rates = {} if self.course is None else {"rate": f"{rate:.2g}"}
        bar.set_postfix({"loss": f"{loss:.4f}", **terms, **rates}, refresh=False)
        bar.update()

    def _batch(self, places: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return rank_batch(self.batch, self.rows, self.lengths, places, rng, self.ranks)

    def _evaluate(self, step: int, epoch: float) -> None:
        if self.evaluate is None:
            return
        with self._interruption.at_once():
            scores = self.evaluate()
        self.run_directory.scored(step, epoch, scores)
        if self.course is not None and not self.course.chooses(step):
            return
        name = self.best_metric
        sign = -1 if self.lower_is_better else 1
        if not self.best or sign * scores[name] > sign * self.best[name]:
            self.best = {"step": step, "epoch": epoch, **scores}
            self.keep()

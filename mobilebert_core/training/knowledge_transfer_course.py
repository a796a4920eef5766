"""The stages of a knowledge transfer as the training loop meets them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .knowledge_transfer import Comparison
from .knowledge_transfer_start import Pair
from .trainer import Objective, TrainerBase

# A backend's `KnowledgeTransfer`: teacher, comparison and first values of weights of its own -> objective.
ObjectiveMaker = Callable[[Any, Comparison, Mapping[str, Any]], Objective]


class TransferCourse:
    """Gives the trainer the objective and the weights of each stage when its first step comes.

    Args:
        teacher: the teacher's model; None where no stage needs one.
        random: names of weights outside of the blocks that were not copied.
        seed: of the weights that an objective has itself.
        dtype: of those.
    """

    def __init__(
        self,
        trainer: TrainerBase,
        pair: Pair,
        make_objective: ObjectiveMaker,
        teacher: Any,
        random: Collection[str] = (),
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.trainer, self.pair, self.schedule = trainer, pair, pair.schedule
        self._make_objective, self._teacher = make_objective, teacher
        self._random, self._seed, self._dtype = frozenset(random), seed, dtype
        self._number = -1

    @property
    def name(self) -> str:
        return self.schedule.stages[self._number].name

    def begin(self, step: int) -> None:
        """Makes the trainer ready for a step, counted from 0: where a stage begins, its objective and its gates."""
        number = self.schedule.number_at(step)
        if number == self._number:
            return
        stage, before = self.schedule.stages[number], self._number
        self._number = number
        teacher = self._teacher if stage.needs_teacher else None
        start = self.pair.first_weights(stage, self._seed, self._dtype)
        table = [weight for weight in self.trainer.model.weight_table() if weight.tied_to is None]
        factors = {weight.name: stage.factor_of(weight, self._random) for weight in table}
        self.trainer.begin_stage(
            self._make_objective(teacher, self.pair.comparison(stage), start),
            factors,
            restart=stage.falls and before >= 0,
        )

    def learning_rate_at(self, step: int) -> float:
        return self.schedule.learning_rate_at(step)

    def ends(self, done: int) -> bool:
        """Whether a stage ends after so many steps."""
        return any(stage.start + stage.steps == done for stage in self.schedule.stages)

    def chooses(self, done: int) -> bool:
        """Whether a model after so many steps may be the best: those of earlier stages do not count."""
        return done > self.schedule.stages[-1].start

    def cells(self) -> dict[str, float]:
        """What the curves say of the last step beside its loss: the stage, counted from 1, and its weighted terms."""
        return {"stage": float(self._number + 1), **self.trainer.terms}

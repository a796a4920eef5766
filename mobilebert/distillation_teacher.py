"""The teacher of a knowledge transfer, with as much of its heads as it was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conversion.backends import Backend
from mobilebert_core.checkpoints.opening import Checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.trained_head import require_trained
from mobilebert_core.training.knowledge_transfer import Schedule
from mobilebert_core.training.tasks.masked_language import FillMaskTraining
from mobilebert_core.weights import weight_table


@dataclass(frozen=True)
class LoadedTeacher:
    """A teacher.

    Attributes:
        model: None where no stage needs it.
        head: that of it which is trained; None without one.
    """

    model: Any = None
    head: str | None = None

    def scored_on(self, task: FillMaskTraining, config: MobileBertConfig) -> FillMaskTraining | None:
        """The task by which it is scored on the rows of the student's; None without a head.

        Of rows that are pairs of texts it may know the words alone.
        """
        if self.head is None or self.head == task.head:
            return None if self.head is None else task
        masking = {"mask_share": task.masking.share, "whole_words": task.masking.whole_words}
        return FillMaskTraining(task.tokenizer, config, task.max_length, seed=task.seed, **masking)


def load_teacher(
    place: str, checkpoint: Checkpoint, head: str, schedule: Schedule, backend: Backend, precision: str
) -> LoadedTeacher:
    """The teacher, where a stage needs one. Without a head for next sentences it has that of masked words.

    Args:
        place: that of the checkpoint.
        head: the student's.

    Raises:
        CheckpointError: for a teacher without trained weights for masked words, where they are compared.
    """
    if not any(stage.needs_teacher for stage in schedule.stages):
        return LoadedTeacher()
    config = checkpoint.config()
    table, stored = weight_table(config, HEADS[head]), checkpoint.weights(config).stored
    if not all(weight.full_name in stored for weight in table if weight.tied_to is None):
        head = FillMaskTraining.head
    model, info = backend.trainer("distill").load(head, place, precision)
    if any("soft" in stage.weights for stage in schedule.stages):
        require_trained(head, place, info)
    elif names := [name for name in info["missing_keys"] if not name.startswith("cls.")]:
        raise CheckpointError(f"{place}: the teacher lacks {names[0]}. Take a whole checkpoint.")
    return LoadedTeacher(model, None if info["missing_keys"] else head)

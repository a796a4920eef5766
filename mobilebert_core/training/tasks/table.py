"""The table of tasks that can be trained. A row here is all that the command, the loop and the tests need."""

from __future__ import annotations

from ...errors import InputError
from ...spelling import did_you_mean
from .masked_language import FillMaskTraining, PretrainingTraining
from .multiple_choice import MultipleChoiceTraining
from .question_answering import QuestionAnsweringTraining
from .text_classification import TextClassificationTraining
from .token_classification import TokenClassificationTraining
from .training_task import TrainingTask

TRAINING_TASKS: dict[str, type[TrainingTask]] = {
    task.name: task
    for task in (
        TextClassificationTraining,
        TokenClassificationTraining,
        QuestionAnsweringTraining,
        MultipleChoiceTraining,
        FillMaskTraining,
        PretrainingTraining,
    )
}


def training_task_named(name: str) -> type[TrainingTask]:
    """The task of a name or alias.

    Raises:
        InputError: listing the names there are.
    """
    names = {alias: task for task in TRAINING_TASKS.values() for alias in (task.name, *task.aliases)}
    if name not in names:
        raise InputError(f"train: no task {name!r}; there are {', '.join(TRAINING_TASKS)}.{did_you_mean(name, names)}")
    return names[name]

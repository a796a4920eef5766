"""The table of tasks that can be trained."""

from __future__ import annotations

from .multiple_choice import MultipleChoiceTraining
from .question_answering import QuestionAnsweringTraining
from .text_classification import TextClassificationTraining
from .token_classification import TokenClassificationTraining
from .training_task import FeatureRow, Features, TrainingTask

__all__ = ["TRAINING_TASKS", "FeatureRow", "Features", "TrainingTask"]

TRAINING_TASKS: dict[str, type[TrainingTask]] = {
    task.name: task
    for task in (
        TextClassificationTraining,
        TokenClassificationTraining,
        QuestionAnsweringTraining,
        MultipleChoiceTraining,
    )
}

"""The table of heads: what each model class reads, returns and learns from.

A head is a row. Shapes, label names, losses, files, parity and tests all derive from this table; the
backends only add one signature per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import outputs as out
from .configuration.config import MobileBertConfig
from .errors import ConfigError

IGNORE_INDEX = -100  # a label that is not learned from, as in PyTorch and transformers


@dataclass(frozen=True)
class Task:
    """One thing a head predicts: which label argument teaches which output, by which rule.

    `kind` is the rule of the loss:
        "class"    cross-entropy over the last axis, -100 ignored
        "words"    the same over the vocabulary; with `sparse_prediction` only labelled tokens have scores
        "span"     cross-entropy over positions, clamped to the sequence, its end ignored
        "problem"  regression, single-label or multi-label classification, as `problem_type` says
    """

    label: str
    logits: str
    kind: str = "class"
    aliases: tuple[str, ...] = ()

    def passed(self, labels: Mapping[str, Any]) -> Any:
        """The labels of this task among those of a call, under any of its names; None if absent."""
        return next((labels[n] for n in (self.label, *self.aliases) if labels.get(n) is not None), None)


@dataclass(frozen=True)
class Head:
    """One model class.

    `modules` names rows of the weight table beyond the encoder. `reduction` says how the losses of several
    tasks become one: "sum" or "mean". All labels must be passed for a loss to be computed.
    """

    name: str
    output: type[out.ModelOutput]
    pooled: bool
    modules: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    reduction: str = "sum"
    per_choice: bool = False  # inputs carry an axis of choices: (B, choices, S)

    @property
    def class_name(self) -> str:
        """The PyTorch class; Keras puts TF before it."""
        return "MobileBertModel" if self.name == "Model" else f"MobileBertFor{self.name}"

    @property
    def words(self) -> Task | None:
        """The task that scores the vocabulary at every token, or None."""
        return next((task for task in self.tasks if task.kind == "words"), None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label argument, aliases included."""
        return tuple(name for task in self.tasks for name in (task.label, *task.aliases))


HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head("Model", out.BaseModelOutputWithPooling, pooled=True),
        Head(
            "PreTraining",
            out.MobileBertForPreTrainingOutput,
            pooled=True,
            modules=("predictions", "seq_relationship"),
            tasks=(
                Task("labels", "prediction_logits", "words"),
                Task("next_sentence_label", "seq_relationship_logits"),
            ),
        ),
        Head(
            "MaskedLM",
            out.MaskedLMOutput,
            pooled=False,
            modules=("predictions",),
            tasks=(Task("labels", "logits", "words"),),
        ),
        Head(
            "NextSentencePrediction",
            out.NextSentencePredictorOutput,
            pooled=True,
            modules=("seq_relationship",),
            tasks=(Task("labels", "logits", aliases=("next_sentence_label",)),),
        ),
        Head(
            "SequenceClassification",
            out.SequenceClassifierOutput,
            pooled=True,
            modules=("classifier",),
            tasks=(Task("labels", "logits", "problem"),),
        ),
        Head(
            "QuestionAnswering",
            out.QuestionAnsweringModelOutput,
            pooled=False,
            modules=("qa_outputs",),
            tasks=(Task("start_positions", "start_logits", "span"), Task("end_positions", "end_logits", "span")),
            reduction="mean",
        ),
        Head(
            "MultipleChoice",
            out.MultipleChoiceModelOutput,
            pooled=True,
            modules=("choice_classifier",),
            tasks=(Task("labels", "logits"),),
            per_choice=True,
        ),
        Head(
            "TokenClassification",
            out.TokenClassifierOutput,
            pooled=False,
            modules=("classifier",),
            tasks=(Task("labels", "logits"),),
        ),
    )
}


def scores_shape(
    config: MobileBertConfig, head: Head, task: Task, inputs: tuple[int | None, ...]
) -> tuple[int | None, ...]:
    """The shape of a task's scores for input_ids of a shape, (B, S) or (B, choices, S)."""
    batch, sequence = inputs[0], inputs[-1]
    if task.kind == "span":
        return (batch, sequence)
    if head.per_choice:
        return inputs[:2]
    if task.logits == "seq_relationship_logits" or head.modules == ("seq_relationship",):
        return (batch, 2)
    classes = config.vocab_size if "predictions" in head.modules else config.num_labels
    return (batch, classes) if head.pooled and "predictions" not in head.modules else (batch, sequence, classes)


def problem_type_of(config: MobileBertConfig, task: Task, classes: int | None, integer_labels: bool) -> str | None:
    """What a task of kind "problem" is: `problem_type`, or what number of labels and dtype say; None for others.

    The configuration is left as it is.
    """
    if task.kind != "problem" or config.problem_type is not None:
        return config.problem_type if task.kind == "problem" else None
    if classes == 1:
        return "regression"
    return "single_label_classification" if integer_labels else "multi_label_classification"


def takes_class_numbers(problem: str | None) -> bool:
    """True where labels are numbers of classes; False where they have the shape of the scores."""
    return problem in (None, "single_label_classification")


def check_head(config: MobileBertConfig, head: Head) -> None:
    """Raises ConfigError when the configuration cannot carry this head."""
    if "predictions" in head.modules and config.embedding_size > config.hidden_size:
        raise ConfigError(
            f"{head.class_name}: embedding_size {config.embedding_size} is larger than hidden_size "
            f"{config.hidden_size}; the masked-language head splits hidden_size into embedding_size and a rest."
        )
    if "qa_outputs" in head.modules and config.num_labels != 2:
        raise ConfigError(
            f"{head.class_name}: num_labels is {config.num_labels}, wanted 2 (a start and an end score per token)."
        )

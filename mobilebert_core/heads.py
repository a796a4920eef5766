"""The table of heads: what each model class reads, returns and learns from.

A head is a row. Shapes, label names, losses, files, parity and tests all derive from this table; the
backends only add one signature per row.

B batch, S sequence, C what the last axis of the scores counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from . import outputs as out
from .configuration.config import MobileBertConfig
from .configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .errors import ConfigError

IGNORE_INDEX = -100  # a label that is not learned from, as in PyTorch and transformers

VOCABULARY = "vocab_size"

Size = TypeVar("Size", int, int | None)  # of an axis; None where a graph does not know it


@dataclass(frozen=True)
class Task:
    """One thing a head predicts: which label argument teaches which output, by which rule.

    Attributes:
        label: the argument that takes the labels.
        logits: the field of the output that holds the scores.
        classes: what the last axis of the scores counts: a number, the field of the configuration that holds it
            ("num_labels", "vocab_size"), or an axis of the inputs ("positions", "choices").
        per_token: True where every token has scores, (B, S, C); False where a text has them, (B, C).
        kind: the rule of the loss:
            "class"    cross-entropy over the last axis, -100 ignored
            "span"     cross-entropy over positions, clamped to the sequence, its end ignored
            "problem"  regression, single-label or multi-label classification, as `problem_type` says
        aliases: further names of the label argument.
    """

    label: str
    logits: str
    classes: int | str
    per_token: bool = False
    kind: str = "class"
    aliases: tuple[str, ...] = ()

    def labels_in(self, labels: Mapping[str, Any]) -> Any:
        """The labels of this task among those of a call, under any of its names; None if absent."""
        return next((labels[n] for n in (self.label, *self.aliases) if labels.get(n) is not None), None)


@dataclass(frozen=True)
class Requirement:
    """What a head wants of the configuration. `message` says what is wrong; it may name {config.fields}."""

    holds: Callable[[MobileBertConfig], bool]
    message: str


@dataclass(frozen=True)
class Head:
    """One model class.

    Attributes:
        name: what follows MobileBertFor in the name of the class.
        output: the class of what it returns.
        pooled: True where it reads the pooled first token. The model then has a pooler.
        modules: rows of the weight table beyond the encoder: keys of HEAD_ROWS in weight_rows.py.
        tasks: what it predicts. All labels must be passed for a loss to be computed.
        reduction: how the losses of several tasks become one: "sum" or "mean".
        per_choice: True where inputs carry an axis of choices: (B, choices, S).
        dropout: True where dropout stands before its last layer.
        requirements: what `check_head` wants of the configuration.
        in_google_code: True where Google's TF1 code has this model. It decides where the weights of one of its
            checkpoints fit several heads.
    """

    name: str
    output: type[out.ModelOutput]
    pooled: bool
    modules: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    reduction: str = "sum"
    per_choice: bool = False
    dropout: bool = False
    requirements: tuple[Requirement, ...] = ()
    in_google_code: bool = False

    @property
    def bare(self) -> bool:
        """True for the model without a head: its weights have no prefix, and its pooler may be left out."""
        return not self.modules

    @property
    def class_name(self) -> str:
        """The PyTorch class; Keras puts TF before it."""
        return f"MobileBert{self.name}" if self.bare else f"MobileBertFor{self.name}"

    @property
    def words(self) -> Task | None:
        """The task that scores the vocabulary at every token, or None. Such a head has the decoder."""
        return next((task for task in self.tasks if task.classes == VOCABULARY), None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label argument, aliases included."""
        return tuple(name for task in self.tasks for name in (task.label, *task.aliases))


_SPLITS_HIDDEN_SIZE = Requirement(
    lambda config: config.embedding_size <= config.hidden_size,
    "embedding_size {config.embedding_size} is larger than hidden_size {config.hidden_size}; the masked-language head "
    "splits hidden_size into embedding_size and a rest.",
)
_START_AND_END = Requirement(
    lambda config: config.num_labels == 2,
    "num_labels is {config.num_labels}, wanted 2 (a start and an end score per token).",
)

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head("Model", out.BaseModelOutputWithPooling, pooled=True, in_google_code=True),
        Head(
            "PreTraining",
            out.MobileBertForPreTrainingOutput,
            pooled=True,
            modules=("predictions", "seq_relationship"),
            tasks=(
                Task("labels", "prediction_logits", VOCABULARY, per_token=True),
                Task("next_sentence_label", "seq_relationship_logits", 2),
            ),
            requirements=(_SPLITS_HIDDEN_SIZE,),
            in_google_code=True,
        ),
        Head(
            "MaskedLM",
            out.MaskedLMOutput,
            pooled=False,
            modules=("predictions",),
            tasks=(Task("labels", "logits", VOCABULARY, per_token=True),),
            requirements=(_SPLITS_HIDDEN_SIZE,),
        ),
        Head(
            "NextSentencePrediction",
            out.NextSentencePredictorOutput,
            pooled=True,
            modules=("seq_relationship",),
            tasks=(Task("labels", "logits", 2, aliases=("next_sentence_label",)),),
        ),
        Head(
            "SequenceClassification",
            out.SequenceClassifierOutput,
            pooled=True,
            modules=("classifier",),
            tasks=(Task("labels", "logits", "num_labels", kind="problem"),),
            dropout=True,
            in_google_code=True,
        ),
        Head(
            "QuestionAnswering",
            out.QuestionAnsweringModelOutput,
            pooled=False,
            modules=("qa_outputs",),
            tasks=(
                Task("start_positions", "start_logits", "positions", kind="span"),
                Task("end_positions", "end_logits", "positions", kind="span"),
            ),
            reduction="mean",
            requirements=(_START_AND_END,),
            in_google_code=True,
        ),
        Head(
            "MultipleChoice",
            out.MultipleChoiceModelOutput,
            pooled=True,
            modules=("choice_classifier",),
            tasks=(Task("labels", "logits", "choices"),),
            per_choice=True,
            dropout=True,
        ),
        Head(
            "TokenClassification",
            out.TokenClassifierOutput,
            pooled=False,
            modules=("classifier",),
            tasks=(Task("labels", "logits", "num_labels", per_token=True),),
            dropout=True,
        ),
    )
}

# Of a class that a user derives from the base of a backend: a MobileBERT under the name `mobilebert`, and modules
# that no table lists.
OWN_HEAD = Head("OwnHead", out.ModelOutput, pooled=True, modules=("own",))


def heads_named(class_names: Iterable[str] | None) -> list[Head]:
    """The heads whose classes, of either framework, stand in a list such as `architectures` of a configuration."""
    names = {name.removeprefix("TF") for name in class_names or ()}
    return [head for head in HEADS.values() if head.class_name in names]


def scores_shape(config: MobileBertConfig, task: Task, inputs: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape of a task's scores for input_ids of a shape, (B, S) or (B, choices, S)."""
    batch, sequence = inputs[0], inputs[-1]
    classes: Size
    if isinstance(task.classes, int):
        classes = task.classes
    elif task.classes in ("positions", "choices"):
        classes = sequence if task.classes == "positions" else inputs[1]
    else:
        classes = getattr(config, task.classes)
    return (batch, sequence, classes) if task.per_token else (batch, classes)


def problem_type_of(config: MobileBertConfig, task: Task, classes: int | None, integer_labels: bool) -> str | None:
    """What a task of kind "problem" is: `problem_type`, or what number of labels and dtype say; None for others.

    The configuration is left as it is.
    """
    if task.kind != "problem" or config.problem_type is not None:
        return config.problem_type if task.kind == "problem" else None
    if classes == 1:
        return REGRESSION
    return SINGLE_LABEL if integer_labels else MULTI_LABEL


def takes_class_numbers(problem: str | None) -> bool:
    """True where labels are numbers of classes; False where they have the shape of the scores."""
    return problem in (None, SINGLE_LABEL)


def check_head(config: MobileBertConfig, head: Head) -> None:
    """Raises ConfigError when the configuration cannot carry this head."""
    for requirement in head.requirements:
        if not requirement.holds(config):
            message = requirement.message.format(config=config)
            raise ConfigError(f"{head.class_name}: {message}")

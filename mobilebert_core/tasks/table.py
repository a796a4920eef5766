"""The table of tasks: what each takes and returns, and which head computes it.

A task is a row. The pipeline, the `mobilebert predict` command, its help and the tests all derive from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.inputs import InputFiles
from ..datasets.labelled_tables import CHOICES
from ..datasets.plain_texts import PLAIN_TEXTS
from ..datasets.reading import Reader
from ..datasets.squad_file import QUESTIONS
from ..datasets.word_files import TAGGED_WORDS
from ..errors import InputError
from ..spelling import did_you_mean
from .feature_extraction import FeatureExtraction
from .fill_mask import FillMask
from .multiple_choice import MultipleChoice
from .next_sentence import NextSentence
from .question_answering import QuestionAnswering
from .sentence_embedding import SentenceEmbedding
from .task_text import Field, TaskText
from .text_classification import TextClassification
from .token_classification import TokenClassification
from .zero_shot import ZeroShotClassification


@dataclass(frozen=True)
class TextTask:
    """One task: `head` names a row of the table of heads, `text` does the text side."""

    name: str
    head: str
    text: type[TaskText]
    about: str
    takes: tuple[Field, ...]
    returns: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    model_options: tuple[tuple[str, bool], ...] = ()  # for loading the model
    reader: Reader = PLAIN_TEXTS  # of the files that its training reads

    @property
    def files(self) -> InputFiles:
        """The files of inputs that it answers."""
        return InputFiles(self.takes, self.reader)


_TEXT = Field("text", "the text")
_SECOND = Field("text_pair", "a second text, for models that read pairs", optional=True)

TASKS: dict[str, TextTask] = {
    task.name: task
    for task in (
        TextTask(
            "fill-mask",
            "MaskedLM",
            FillMask,
            "words for the masked places of a text",
            (Field("text", "a text with [MASK] in it"),),
            ("score", "token", "token_str", "sequence"),
        ),
        TextTask(
            "text-classification",
            "SequenceClassification",
            TextClassification,
            "one label, several labels or a number for a text or pair of texts",
            (_TEXT, _SECOND),
            ("label", "score"),
            ("sentiment-analysis",),
        ),
        TextTask(
            "token-classification",
            "TokenClassification",
            TokenClassification,
            "labelled words and entities with their places in the text",
            (Field("text", "the text; in JSON also the list of its words", or_words=True),),
            ("entity", "score", "index", "word", "start", "end"),
            ("ner",),
            reader=TAGGED_WORDS,
        ),
        TextTask(
            "question-answering",
            "QuestionAnswering",
            QuestionAnswering,
            "the passage of a text, however long, that answers a question",
            (Field("question", "what is asked"), Field("context", "the text that holds the answer")),
            ("score", "start", "end", "answer"),
            reader=QUESTIONS,
        ),
        TextTask(
            "next-sentence",
            "NextSentencePrediction",
            NextSentence,
            "the probability that one text follows another",
            (Field("text", "the first text"), Field("text_pair", "the text that may follow")),
            ("is_next", "score"),
        ),
        TextTask(
            "multiple-choice",
            "MultipleChoice",
            MultipleChoice,
            "which of several texts fits best after another",
            (Field("text", "the text before"), Field("choices", "the texts to choose from", several=True)),
            ("choice", "answer", "score", "scores"),
            reader=CHOICES,
        ),
        TextTask(
            "sentence-embedding",
            "Model",
            SentenceEmbedding,
            "a vector for a text",
            (_TEXT, _SECOND),
            (),
            model_options=(("add_pooling_layer", False),),
        ),
        TextTask(
            "feature-extraction",
            "Model",
            FeatureExtraction,
            "a vector for every token of a text",
            (_TEXT,),
            (),
            model_options=(("add_pooling_layer", False),),
        ),
        TextTask(
            "zero-shot-classification",
            "SequenceClassification",
            ZeroShotClassification,
            "labels chosen freely, scored by a model of entailment",
            (
                _TEXT,
                Field("candidate_labels", "labels for this text alone", several=True, optional=True, by_commas=True),
            ),
            ("sequence", "labels", "scores"),
        ),
    )
}


def task_named(name: str) -> TextTask:
    """The row of a task, by its name or an alias.

    Raises:
        InputError: listing the names there are.
    """
    names = {alias: task for task in TASKS.values() for alias in (task.name, *task.aliases)}
    if name not in names:
        raise InputError(
            f"MobileBertPipeline: no task {name!r}; there are {', '.join(TASKS)}.{did_you_mean(name, names)}"
        )
    return names[name]

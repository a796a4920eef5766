"""What training asks of a task: what it is called, reads and learns, and how its rows become batches and scores.

A task is a class: its facts are class attributes, an instance has the tokenizer and the configuration of one run.
Everything that is said of tasks elsewhere, the command line included, is read from here.
B batch, S tokens of the longest row, C labels.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...configuration.config import MobileBertConfig
from ...datasets.examples import Examples, ReadOptions
from ...datasets.reading import Reader
from ...errors import InputError
from ...text.tokenization_base import TokenizerBase
from ..ranks import BatchPart
from ..recipe import Recipe
from ..row_arrays import RowArrays


@dataclass(frozen=True)
class Features:
    """Rows of model input, what was done to texts ("3 of 50 texts ... were cut"), and a message per example skipped.

    Each row has its `length` in tokens. The skipped ones have no row and no part in scores, which count them.
    """

    rows: Sequence[Any]
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class TrainingTask(ABC):
    """One task of a training run.

    Attributes:
        name: as users call it; `aliases` are other names.
        about: what it learns from, in words for the help of the command.
        head: name of its row in the table of heads.
        reader: which files it reads, and which options say how.
        options: names of its own options, fields of `options_type` with their help.
        recipe: its default hyperparameters.
        classifies: whether the model has a classifier with dropout before it.
        names_labels: whether the labels are names, which the configuration holds.
        config_defaults: fields of the configuration, unless the user says otherwise.
        random_rows: whether the seed decides which texts lie in which rows.
        best_metric: the score by which the best model is chosen, the highest unless `lower_is_better`.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[str]
    head: ClassVar[str]
    reader: ClassVar[Reader]
    options: ClassVar[tuple[str, ...]] = ()
    options_type: ClassVar[type]
    recipe: ClassVar[Recipe] = Recipe()
    classifies: ClassVar[bool] = False
    names_labels: ClassVar[bool] = False
    config_defaults: ClassVar[Mapping[str, Any]] = {}
    random_rows: ClassVar[bool] = False
    best_metric: str = "accuracy"
    lower_is_better: ClassVar[bool] = False
    tokenizer: TokenizerBase

    @abstractmethod
    def __init__(
        self,
        tokenizer: TokenizerBase,
        config: MobileBertConfig,
        max_length: int | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """Takes the tokenizer and the configuration of a run; `seed` decides what is random in the rows."""

    @property
    @abstractmethod
    def row_limit(self) -> int:
        """The tokens of the longest row."""

    @classmethod
    def option_fields(cls) -> list[dataclasses.Field[Any]]:
        """The options of the task, each with kind, help and default."""
        return [each for each in dataclasses.fields(cls.options_type) if each.name in cls.options]

    @classmethod
    def check_options(cls, names: Iterable[str]) -> None:
        """Raises InputError for an option that the task has not."""
        for name in names:
            if name not in cls.options:
                known = ", ".join(("max_length", *cls.options))
                raise InputError(f"training {cls.name}: wanted options it knows, got {name!r}. It knows {known}.")

    @classmethod
    def read(cls, path: Path, options: ReadOptions = ReadOptions()) -> Examples:  # noqa: B008
        """The examples of a file; raises DataError as `Reader.read`."""
        return cls.reader.read(cls.name, path, options)

    @classmethod
    @abstractmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        """What the training examples say about the configuration, as keywords for it.

        Raises:
            DataError: for labels that nothing can be learned from.
        """

    @abstractmethod
    def features(self, examples: Examples) -> Features:
        """The examples tokenized, in order.

        Raises:
            DataError: for the first example that does not suit, such as one with an unknown label, unless the
                examples were read with `skip_bad_rows`.
        """

    @abstractmethod
    def stream(self, items: Iterable[Any], about: Examples, notes: list[str]) -> Iterator[RowArrays]:
        """The rows of `features` from examples that come one by one, of which few are in memory at once.

        Args:
            about: where they are from and how they are read; `skipped` gets the messages of rows that do not suit.
            notes: gets what was done to texts.

        Raises:
            DataError: as `features`.
        """

    @abstractmethod
    def row(self, input_ids: list[Any], token_type_ids: list[Any], labels: Any, number: int) -> Any:
        """One of the rows of `stream`, the one of a number."""

    @abstractmethod
    def batch(
        self, rows: Sequence[Any], rng: np.random.Generator, *, part: BatchPart | None = None
    ) -> dict[str, np.ndarray]:
        """Inputs and labels of rows, padded to the longest; what is random comes from `rng`.

        Rows that are a `part` of a batch are, number for number, what they are in the whole of it.
        """

    @abstractmethod
    def evaluation_batch(self, rows: Sequence[Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """What the model reads in an evaluation; labels only where they change what it computes."""

    @abstractmethod
    def row_metrics(
        self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
    ) -> Sequence[Mapping[str, Any]]:
        """What `scores` needs of each row of an evaluation batch."""

    def check_libraries(self) -> None:
        """Raises BackendMissingError when a library that `scores` needs is not installed."""
        return None

    @abstractmethod
    def scores(
        self, examples: Examples, features: Features, row_metrics: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The scores of a model, from what `row_metrics` gave for each of `features.rows`, in order.

        Raises:
            InputError: for NaN or infinity.
        """

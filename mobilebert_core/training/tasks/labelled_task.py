"""Training on examples with labels, whose rows are those of the pipeline of the same task.

B batch, S tokens of the longest row, C labels.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from ...configuration.config import MobileBertConfig
from ...datasets.examples import BadRows, Example, Examples
from ...errors import DataError, InputError
from ...heads import HEADS
from ...tasks.batching import padded
from ...tasks.table import TASKS
from ...tasks.task_text import Row
from ...text.token_stream import AT_ONCE, computed_ahead
from ...text.tokenization_base import TokenizerBase
from ..ranks import BatchPart
from ..row_arrays import RowArrays, arrays_of
from .training_task import Features, TrainingTask

TEXTS_AT_ONCE = AT_ONCE  # that are tokenized together: enough for the fast tokenizer's threads, little to hold

_NUMBER = re.compile(r"(?<!\w)\d[\d,]*(?= of | texts | words |$)")

T = TypeVar("T", bound=Example)
Ids = tuple[list[int], list[int]]  # input ids and token types of a row


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One row of model input, without padding, with its labels and the example (its place in the items) it is from.

    `input_ids` and `token_type_ids` are lists of numbers, for multiple choice a list of them for each choice.
    """

    input_ids: list[Any]
    token_type_ids: list[Any]
    labels: Any
    example: int
    about: Any = None  # what the task wants to remember

    @property
    def length(self) -> int:
        """Tokens, of the longest choice if there are several: by it rows are put into batches of like length."""
        first = self.input_ids[0]
        return max(map(len, self.input_ids)) if isinstance(first, list) else len(self.input_ids)


class NoneOfUseError(DataError):
    """No example made a row; `skipped` says why."""

    def __init__(self, message: str, skipped: Sequence[str] = ()) -> None:  # by the message alone: it can be pickled
        super().__init__(message)
        self.skipped = list(skipped)


class LabelledTask(TrainingTask):
    """A task with a row in `TASKS`: the text side of its pipeline makes the rows, and its options mean the same.

    Attributes:
        highest: that `best_metric` can be.

    Raises:
        InputError: for an option that the task has not, or a value out of its range.
    """

    highest: ClassVar[float] = 1.0

    def __init_subclass__(cls) -> None:
        cls.head = TASKS[cls.name].head
        cls.options_type = TASKS[cls.name].text

    def __init__(
        self,
        tokenizer: TokenizerBase,
        config: MobileBertConfig,
        max_length: int | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.check_options(options)
        task = TASKS[self.name]
        passed = options if max_length is None else {"max_length": max_length, **options}
        # The text side of the pipeline: rows are cut and read here as they will be in use.
        self.text: Any = task.text(task.name, task.takes, tokenizer, config).with_options(passed)
        self.tokenizer, self.config = tokenizer, config

    @property
    def row_limit(self) -> int:
        limit: int = self.text.row_limit
        return limit

    def labels(self, rows: Sequence[FeatureRow], length: int) -> dict[str, np.ndarray]:
        """The labels of a batch whose rows are padded to a length, by the head's names."""
        return {"labels": np.array([row.labels for row in rows], np.int32)}

    def stream(self, items: Iterable[Any], about: Examples, notes: list[str]) -> Iterator[RowArrays]:
        counts = dict[str, list[int]]()

        def made_of(some: list[Any]) -> tuple[RowArrays | None, list[str], list[str]]:
            try:
                features = self.features(Examples(some, [], about.path, about.options))
            except NoneOfUseError as e:  # of these; others may be
                return None, [], e.skipped
            return arrays_of(features.rows, len(self.tokenizer)), features.notes, features.skipped

        for made, said, skipped in computed_ahead(made_of, items):
            about.skipped.extend(skipped)
            if made is not None:
                yield made
            for note in said:  # "3 of 50 texts ... were cut": the numbers are those of all together
                numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(note)]
                total = counts.setdefault(_NUMBER.sub("{:,}", note), [0] * len(numbers))
                total[:] = map(operator.add, total, numbers)
        notes += [note.format(*numbers) for note, numbers in counts.items()]

    def row(self, input_ids: list[Any], token_type_ids: list[Any], labels: Any, number: int) -> FeatureRow:
        return FeatureRow(input_ids, token_type_ids, labels, number)

    def batch(
        self,
        rows: Sequence[FeatureRow],
        rng: np.random.Generator | None = None,
        *,
        pad_to: int | None = None,
        part: BatchPart | None = None,
        training: bool = True,
    ) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and `token_type_ids` (B, S) int32, S the longest row or `pad_to`.

        With `training` also the labels: int32 numbers of classes (B,), -100 or numbers (B, S), positions (B,); for
        several labels float32 (B, C), for regression float32 (B,). For multiple choice inputs are (B, choices, S).

        Raises:
            InputError: for no rows, or a row longer than `pad_to`.
        """
        pad_to = part.length if part is not None else pad_to
        longest = max((row.length for row in rows), default=0)
        if not rows or (pad_to is not None and longest > pad_to):
            got = f"one of {longest} tokens" if rows else "none"
            raise InputError(f"batch: wanted rows of at most {pad_to or 'some'} tokens, got {got}. Raise pad_to.")
        length = pad_to or longest
        inputs = self._padded(rows, length)
        return inputs | self.labels(rows, length) if training else inputs

    def evaluation_batch(self, rows: Sequence[FeatureRow], rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.batch(rows, training=False)

    def row_metrics(
        self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
    ) -> list[Mapping[str, np.ndarray]]:
        """The outputs of each row, without the batch axis."""
        rows = len(next(iter(outputs.values())))
        return [{name: array[i] for name, array in outputs.items()} for i in range(rows)]

    def _padded(self, rows: Sequence[Any], length: int) -> dict[str, np.ndarray]:
        return padded(rows, self.tokenizer.pad_token_id or 0, length=length)

    def scores(
        self, examples: Examples, features: Features, row_metrics: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        """The scores of a model's outputs, one mapping for each row of `features.rows`, in order.

        Arrays are those of one row, without the batch axis; token axes may be longer than the row. "skipped" is
        there, with how many, when examples were left out.

        Raises:
            InputError: for outputs of another number or shape, or with NaN or infinity in them.
            BackendMissingError: when the library with a metric is not installed.
        """
        if len(row_metrics) != len(features.rows) or not row_metrics:
            raise InputError(
                f"scores: wanted one output for each of {len(features.rows)} rows, at least one, got "
                f"{len(row_metrics)}."
            )
        found = self.score(examples, features.rows, row_metrics)
        skipped = len(examples.skipped) + len(features.skipped)
        return found | {"skipped": float(skipped)} if skipped else found

    def score(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        """The scores of a task, without the count of what was skipped."""
        raise NotImplementedError

    def blind_score(self, examples: Examples, rows: Sequence[FeatureRow]) -> float | None:
        """The `best_metric` of the best answer that is the same for all rows; None where nobody has said it."""
        return None

    # ------------------------------------------------------------------------------------------ for the tasks

    def logits(self, output: Mapping[str, np.ndarray], shape: tuple[int, ...], row: int, name: str = "logits") -> Any:
        """One output of a row as float64 of a shape; its first axis may be longer when it counts tokens."""
        if name not in output:
            raise InputError(f"scores: wanted {name} of row {row}, got {', '.join(output) or 'nothing'}.")
        array = np.asarray(output[name], np.float64)
        by_token = len(shape) == 2 or HEADS[self.head].tasks[0].kind == "span"
        fits = array.ndim == len(shape) and array.shape[by_token:] == shape[by_token:]
        if not fits or len(array) < shape[0]:
            more = " or longer" if by_token else ""
            raise InputError(f"scores: {name} of row {row} must have shape {shape}{more}, got {array.shape}.")
        array = array[: shape[0]]
        if not np.isfinite(array).all():
            raise InputError(
                f"scores: wanted finite {name}, got NaN or infinity in row {row}: the training has diverged, or a "
                "number overflowed in half precision. Lower the learning rate, or compute in float32."
            )
        return array

    def encoded(self, texts: list[str], pairs: list[str | None]) -> tuple[list[Ids], int]:
        """Rows of texts or pairs, and how many were cut, from the longer text first, to `self.text.row_limit`."""
        limit, rows, cut = self.text.row_limit, [], 0
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = slice(start, start + TEXTS_AT_ONCE)
            # One token beyond the limit says that a text is longer; of an endless one no more is looked at.
            found = self._encode(texts[some], pairs[some], truncation=True, max_length=limit + 1)
            if long := [i for i, (ids, _) in enumerate(found) if len(ids) > limit]:
                again = self._encode(
                    [texts[start + i] for i in long],
                    [pairs[start + i] for i in long],
                    truncation=True,
                    max_length=limit,
                )
                for i, row in zip(long, again, strict=True):
                    found[i] = row
            rows += found
            cut += len(long)
        return rows, cut

    def _encode(self, texts: list[str], pairs: list[str | None], **options: Any) -> list[Ids]:
        both = pairs if any(pair is not None for pair in pairs) else None
        encoded = self.tokenizer(
            texts, both, return_token_type_ids=True, return_attention_mask=False, verbose=False, **options
        )
        return list(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True))

    def cut_note(self, cut: int, total: int, what: str) -> list[str]:
        """The note about texts that were cut, if any were."""
        return [f"{cut:,} of {total:,} {what} longer than {self.text.row_limit} tokens were cut"] if cut else []


def items_of(examples: Examples, kind: type[T]) -> list[T]:
    """The examples, which must all be of one kind.

    Raises:
        InputError: for examples that were read for another task.
    """
    items: list[T] = [item for item in examples.items if isinstance(item, kind)]
    if len(items) < len(examples.items):
        other = next(type(item).__name__ for item in examples.items if not isinstance(item, kind))
        raise InputError(
            f"features: wanted each example to be a {kind.__name__}, got {other}. Read them for this task."
        )
    return items


def bad_rows(examples: Examples) -> BadRows:
    """Where examples that do not suit are noted, or raised, as when they were read."""
    return BadRows(examples.path, examples.options.skip_bad_rows)


def features_of(examples: Examples, rows: list[FeatureRow], notes: list[str], bad: BadRows) -> Features:
    """The features of examples, of which at least one must be left."""
    if not rows:
        first = f" The first: {bad.messages[0]}" if bad.messages else ""
        raise NoneOfUseError(f"{examples.path}: none of {len(examples.items)} examples is of use.{first}", bad.messages)
    return Features(rows, notes, bad.messages)


def flat(row: FeatureRow) -> list[Row]:
    """The rows of each choice."""
    return [Row(ids, types) for ids, types in zip(row.input_ids, row.token_type_ids, strict=True)]

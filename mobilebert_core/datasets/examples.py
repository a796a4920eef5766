"""What is read from a data file: examples that know their place in it, and the rows that were no use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError


@dataclass(frozen=True)
class ReadOptions:
    """How a data file is read. What does not apply to a task is refused for it.

    Columns are names of the header (keys of JSON lines), or numbers from 1 as strings where there is no header.

    Attributes:
        text_column, pair_column, label_column: of the text, of a second one, and of the label.
        word_column, tag_column: of the words and their tags, in files with a word on each line.
        header: False where the first row is data.
        label_columns: a column for each label, with its probability or 0 and 1.
        label_separator: between the labels of a row, which may then have several or none.
        label_names: the labels in the order of their numbers, by which a row may name them.
        skip_bad_rows: leaves out rows that cannot be used, which are errors otherwise.
        problem_type: what labels are; None is what they look like.
    """

    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    word_column: str | None = None
    tag_column: str | None = None
    header: bool = True
    label_columns: tuple[str, ...] | None = None
    label_separator: str | None = None
    label_names: tuple[str, ...] | None = None
    skip_bad_rows: bool = False
    problem_type: str | None = None


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text, or two, with the label as it stands in the file; a tuple where a row may have several.

    `probabilities` are probabilities of those several, where the file gives them (soft labels, as of a teacher).
    """

    line: int
    text: str
    pair: str | None
    label: str | tuple[str, ...]
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class WordsExample:
    """A sentence in words, each with its tag. `line` is that of the first word."""

    line: int
    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A text, the choices after it, and the number of the right one."""

    line: int
    text: str
    choices: tuple[str, ...]
    label: int


@dataclass(frozen=True, slots=True)
class QuestionExample:
    """A question about a text. `answers` are (first character, text); none where the text has no answer."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[int, str], ...]

    @property
    def line(self) -> str:
        """Its place for messages: JSON has no lines."""
        return f"question {self.id!r}"


Example = TextExample | WordsExample | ChoiceExample | QuestionExample


@dataclass(frozen=True)
class Examples:
    """The examples of a file in its order, and a message for each row that was skipped."""

    items: list[Any]  # `Example`s of one kind, or plain texts
    skipped: list[str] = field(default_factory=list)
    path: Path = Path("examples")  # for messages
    options: ReadOptions = ReadOptions()


class BadRow(Exception):
    """What is wrong with one row; `BadRows` adds where, and makes it an error or a count."""


@dataclass
class BadRows:
    """Collects what is wrong with rows of a file, or raises it at once.

    Messages that are collected say the name of the file alone: they go into model cards and other files, where no
    path of this machine belongs.

    Raises:
        DataError: for the first bad row, unless `skip`.
    """

    path: Path
    skip: bool
    messages: list[str] = field(default_factory=list)

    def add(self, line: int | str, message: str, advice: str = "Mend the row") -> None:
        """Takes note of a bad row."""
        if not self.skip:
            where = place(self.path, line)
            raise DataError(f"{where}: {message} {advice}, or leave such rows out with skip_bad_rows=True.")
        self.messages.append(f"{place(Path(self.path.name), line)}: {message}")

    def lost(self, first: int, last: int, message: str, advice: str) -> None:
        """Takes note of all lines from `first` on, of which nothing says where a row begins.

        Raises:
            DataError: also with `skip`: that would be too much to leave out.
        """
        raise DataError(f"{place(self.path, first)}: {message} Of lines {first} to {last} nothing is read. {advice}.")

    @contextmanager
    def row(self, line: int | str) -> Iterator[None]:
        """Takes note of a `BadRow` that the block raises."""
        try:
            yield
        except BadRow as e:
            self.add(line, str(e))


def place(path: Path, line: int | str) -> str:
    """`file:line`, or the file and what else says where."""
    return f"{path}:{line}" if isinstance(line, int) else f"{path}: {line}"


def brief(value: object) -> str:
    """A value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."

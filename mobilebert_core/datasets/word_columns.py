"""Which columns of CoNLL's lines are words and tags: what a first look at all lines says, which keeps none of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .examples import ReadOptions, brief

NEW_DOCUMENT = "-DOCSTART-"
OUTSIDE = "O"
TAG = re.compile("[BIESLUM]-.+")
SPAN = re.compile(r"[0-9]+[-.][0-9]+")  # in place of an index: of several words, or of one that is left out
# What a first line calls the columns, in lower case.
_WORD_NAMES = ("word", "words", "token", "tokens", "form", "text")
_TAG_NAMES = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "entity", "pos")

Line = tuple[int, str, list[str] | None]  # its number, itself, and its cells; none of a blank line


@dataclass(frozen=True)
class WordColumns:
    """The columns of a file.

    Attributes:
        width: how many there are.
        word, tag: their places.
        indexed: whether the first counts the words of each sentence.
        header: the number of a first line that names them.
        tags: all that occur.
    """

    width: int
    word: int
    tag: int
    indexed: bool
    header: int | None
    tags: frozenset[str]


def word_columns(path: Path, lines: Iterable[Line], options: ReadOptions, tagged: bool) -> WordColumns:
    """What the columns of a file are; without `tagged` the last may be anything.

    Raises:
        DataError: for a file without lines of words, or a column that cannot be words or tags.
    """
    seen: _Seen | None = None
    comments = False
    for number, _, cells in lines:
        if cells is None or is_aside(cells):
            comments = comments or cells is not None
            if seen is not None:
                seen.end()
        elif seen is None:
            seen = _Seen(path, options, tagged, number, cells, begins=not comments)
        else:
            seen.add(cells)
    if seen is None:
        raise DataError(f"{path}: wanted a word and its tag on each line, got no such line.")
    return seen.columns()


def is_aside(cells: list[str]) -> bool:
    """Whether a line looks like a comment, or begins a document."""
    return cells[0].startswith(("#", NEW_DOCUMENT))


def named(options: ReadOptions, old: str, new: str) -> tuple[str, str | None]:
    """The option that names a column, under one of its two names, and its value."""
    if getattr(options, new) is not None:
        if getattr(options, old) is not None:
            raise DataError(f"{new} and {old} name the same column. Leave one out.")
        return new, getattr(options, new)
    return old, getattr(options, old)


class _Column:
    """Whether a column counts from 1 in every sentence, holds numbers alone, one thing all through each, or tags."""

    def __init__(self) -> None:
        self.first: str | None = None
        self.counts = self.numbers = self.tags = self._same = True
        self.cells = self.sentences = self.longest = self._at = self._repeated = 0
        self._named = False
        self._last: str | None = None  # of the sentence

    def add(self, cell: str) -> None:
        self.cells += 1
        self.first = cell if self.first is None else self.first
        if self._same:
            self._same = self._last is None or cell == self._last
            self._repeated += cell == self._last
            self._last = cell
        if self.tags and cell != OUTSIDE:
            self.tags = self._named = TAG.fullmatch(cell) is not None
        if self.numbers:
            self.numbers = cell.isdecimal()
        if self.counts and not SPAN.fullmatch(cell):
            self._at += 1
            self.counts = cell == str(self._at)

    def end(self) -> None:
        self.sentences += 1
        self.longest = max(self.longest, self._at)
        self._at = 0
        self._last = None

    @property
    def repeats(self) -> bool:
        """Whether it says the same all through each sentence, of which more than one or a long one says so."""
        return self._same and self._repeated > 1

    @property
    def are_tags(self) -> bool:
        """Whether it holds nothing but O and tags such as B-name, and one of these."""
        return self.tags and self._named

    @property
    def is_index(self) -> bool:
        """In a file of single words it must be a 1 in several."""
        return self.counts and (self.longest > 1 or self.sentences > 2)


class _Seen:
    """Sees the lines of words, and where their sentences end.

    A first line that `begins` the file with names that are usual for words and for tags is a header, if others follow.
    """

    def __init__(
        self, path: Path, options: ReadOptions, tagged: bool, number: int, cells: list[str], begins: bool
    ) -> None:
        self.path, self.options, self.tagged, self.width = path, options, tagged, len(cells)
        if self.width < 2 and tagged:
            raise DataError(
                f"{path}: wanted a word and its tag on each line, in columns with a tab or spaces between, got one "
                f"column: {brief(cells)}."
            )
        self.word = self._place(*named(options, "text_column", "word_column"))
        tag = self._place(*named(options, "label_column", "tag_column"))
        self.tag = self.width - 1 if tag is None else tag
        words = (0, 1) if self.word is None else (0, self.word)
        self._watched = [(place, _Column()) for place in sorted({*words, self.tag})]
        self._tags: set[str] = set()
        self._inside = False
        self.header: int | None = None
        self._first: tuple[int, list[str]] | None = None  # that may be a header
        if begins and _names_columns(cells):
            self._first = number, cells
        else:
            self.add(cells)

    def add(self, cells: list[str]) -> None:
        if self._first is not None:
            self.header, self._first = self._first[0], None
        for place, column in self._watched:
            if place < len(cells):
                column.add(cells[place])
        if len(cells) == self.width:
            self._tags.add(cells[self.tag])
        self._inside = True

    def end(self) -> None:
        """Ends a sentence, if one has begun."""
        if self._inside:
            for _, column in self._watched:
                column.end()
        self._inside = False

    def columns(self) -> WordColumns:
        if self._first is not None:  # nothing followed
            cells, self._first = self._first[1], None
            self.add(cells)
        self.end()
        columns = dict(self._watched)
        indexed = self.width > 1 and columns[0].is_index
        word = int(indexed) if self.word is None else self.word
        self._check(columns, word)
        return WordColumns(self.width, word, self.tag, indexed, self.header, frozenset(self._tags))

    def _check(self, columns: dict[int, _Column], word: int) -> None:
        """Raises DataError where words and tags are one column, or one that was not named cannot be what it is for."""
        path, options = self.path, self.options
        if self.tagged and word == self.tag:
            raise DataError(
                f"{path}: words and tags are both column {word + 1}. Name them by word_column and tag_column."
            )
        if self.word is None and columns[word].cells > 1 and columns[word].numbers:
            raise DataError(
                f"{path}: column {word + 1} holds numbers alone, such as {columns[word].first!r}. Name the column of "
                "the words by word_column (text_column)."
            )
        if self.word is None and self.width > (2 if self.tagged else 1) and columns[word].repeats:
            raise DataError(
                f"{path}: column {word + 1} holds one thing all through a sentence, such as {columns[word].first!r}. "
                "Name the column of the words by word_column (text_column)."
            )
        unnamed = options.label_column is None and options.tag_column is None
        if self.tagged and unnamed and columns[self.tag].is_index:
            raise DataError(
                f"{path}: column {self.tag + 1} counts the words. Name the column of the tags by tag_column."
            )
        if self.tagged and unnamed and columns[0].is_index and all(_says_no_tag(tag) for tag in self._tags):
            raise DataError(
                f"{path}: column {self.tag + 1}, the last, holds no tags but notes, such as {max(self._tags)!r}. Name "
                "the column of the tags by tag_column."
            )
        if not self.tagged and self.word is None and self.width > 1 and columns[word].are_tags:
            raise DataError(f"{path}: column {word + 1} holds tags. Name the column of the words by word_column.")
        if self.tagged and unnamed and columns[word].are_tags and not columns[self.tag].are_tags:
            raise DataError(
                f"{path}: column {word + 1} holds tags and column {self.tag + 1} does not. Name both by word_column "
                "and tag_column."
            )

    def _place(self, option: str, wanted: str | None) -> int | None:
        if wanted is None:
            return None
        if not wanted.isdecimal() or len(wanted) > 9 or not 1 <= int(wanted) <= self.width:
            raise DataError(f"{self.path}: {option} must be the number of a column, 1 to {self.width}, got {wanted!r}.")
        return int(wanted) - 1


def _says_no_tag(cell: str) -> bool:
    """Whether a cell is as those of CoNLL-U's last column: empty, or notes such as SpaceAfter=No."""
    return cell == "_" or "=" in cell


def _names_columns(cells: list[str]) -> bool:
    names = [cell.strip().lower() for cell in cells]
    return len(names) > 1 and names[-1] in _TAG_NAMES and any(name in _WORD_NAMES for name in names[:-1])

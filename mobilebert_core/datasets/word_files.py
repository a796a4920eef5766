"""Words with tags: CoNLL's columns with a blank line after each sentence, or JSON lines with two lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .columns import cell, column, label_of
from .examples import BadRow, BadRows, ReadOptions, WordsExample, brief
from .reading import Reader
from .table_files import NOT_UTF8, ending, is_utf8, read_table, read_text

WORDS = ("tokens", "words")
TAGS = ("tags", "labels", "ner_tags")
_NEW_DOCUMENT = "-DOCSTART-"
_TAG = re.compile("[BIESLUM]-.+")


def read_columns(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[WordsExample]:
    """The sentences of a file with a word and its tag on each line, in the first and last column unless options say.

    Lines of tabs alone are blank too. A line that begins with # is a word where it has as many columns as the others
    and, between spaces, a tag of the others or of the form B-name; else it is a comment. A sentence with a bad line is
    left out whole.
    """
    lines = [(number, line.removesuffix("\r")) for number, line in enumerate(read_text(path).split("\n"), 1)]
    split = {number: _cells(line) for number, line in lines if line.strip()}
    sure = [cells for cells in split.values() if not cells[0].startswith(("#", _NEW_DOCUMENT))]
    if not sure:
        raise DataError(f"{path}: wanted a word and its tag on each line, got no such line.")
    width = len(sure[0])
    if width < 2:
        raise DataError(
            f"{path}: wanted a word and its tag on each line, in columns with a tab or spaces between, got one "
            f"column: {brief(sure[0])}."
        )
    word = _place(path, "text_column", options.text_column, width, 0)
    tag = _place(path, "label_column", options.label_column, width, width - 1)
    tags = {cells[tag] for cells in sure if len(cells) == width}
    sentence: list[tuple[int, list[str]]] = []

    def finished() -> Iterator[WordsExample]:
        try:
            if sentence:
                yield _sentence(sentence, width, word, tag)
        except _BadLine as e:
            bad.add(e.line, str(e))
        sentence.clear()

    for number, line in lines:
        cells = split.get(number)
        if cells is None or cells[0] == _NEW_DOCUMENT:
            yield from finished()
        elif not cells[0].startswith("#") or (
            len(cells) == width and ("\t" in line or cells[tag] in tags or _TAG.fullmatch(cells[tag]))
        ):
            sentence.append((number, cells))
    yield from finished()


class _BadLine(BadRow):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _cells(line: str) -> list[str]:
    """The columns of a line: with a tab in it, what stands between tabs, and else between spaces."""
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _place(path: Path, option: str, wanted: str | None, width: int, usual: int) -> int:
    if wanted is None:
        return usual
    if not wanted.isdecimal() or not 1 <= int(wanted) <= width:
        raise DataError(f"{path}: {option} must be the number of a column, 1 to {width}, got {wanted!r}.")
    return int(wanted) - 1


def _sentence(lines: list[tuple[int, list[str]]], width: int, word: int, tag: int) -> WordsExample:
    for number, cells in lines:
        if not is_utf8("".join(cells)):
            raise _BadLine(number, NOT_UTF8)
        if len(cells) != width:
            raise _BadLine(number, f"wanted {width} columns as in the other lines, got {len(cells)}: {brief(cells)}.")
        if not cells[word] or not cells[tag].strip():
            raise _BadLine(number, f"wanted a word and its tag, one is empty: {brief(cells)}.")
    words = tuple(cells[word] for _, cells in lines)
    return WordsExample(lines[0][0], words, tuple(cells[tag].strip() for _, cells in lines))


def read_lists(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[WordsExample]:
    """The sentences of JSON lines {"tokens": [...], "tags": [...]}; tags are names, or numbers (see `label_names`)."""
    table = read_table(path, options, bad)
    words_key = column(table, "text_column", options.text_column, WORDS)
    tags_key = column(table, "label_column", options.label_column, TAGS)
    for line, row in table.rows:
        with bad.row(line):
            words, tags = cell(row, words_key), cell(row, tags_key)
            for name, value in ((words_key, words), (tags_key, tags)):
                if not isinstance(value, list):
                    raise BadRow(f"{name} must be a list, got {type(value).__name__} {brief(value)}.")
            if len(words) != len(tags):
                raise BadRow(f"wanted a tag for each word, got {len(words)} words and {len(tags)} tags.")
            if not words:
                raise BadRow(f"{words_key} is empty.")
            for each in words:
                if not isinstance(each, str) or not each:
                    raise BadRow(f"{words_key} must be words that are not empty, got {brief(each)}.")
            yield WordsExample(line, tuple(words), tuple(label_of(each, "tag") for each in tags))


def read_words(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[WordsExample]:
    """The sentences of a file of either form, which its ending says."""
    return (read_lists if ending(path) == ".jsonl" else read_columns)(path, options, bad)


TAGGED_WORDS = Reader(
    (".conll", ".tsv", ".txt", ".bio", ".iob", ".iob2", ".jsonl"),
    ("text_column", "label_column", "label_names"),
    read_words,
)

"""Words with tags: CoNLL's columns with a blank line after each sentence, or JSON lines with two lists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .arrow_files import ARROW_FILES
from .columns import cell, column, key_in
from .examples import BadRow, BadRows, ReadOptions, WordsExample, brief
from .label_cells import label_of, unwritten
from .reading import Reader
from .sources import NOT_UTF8, Source, is_utf8
from .table_files import read_table
from .word_columns import NEW_DOCUMENT, OUTSIDE, SPAN, TAG, Line, is_aside, named, word_columns

WORDS = ("tokens", "words")
TAGS = ("tags", "labels", "ner_tags")
HELD = 1 << 17  # lines that are in memory together, about 50 MB
_LOOKED_AT = 50  # lines


def read_columns(source: Source, options: ReadOptions, bad: BadRows, tagged: bool = True) -> Iterator[WordsExample]:
    """The sentences of a file with a word and its tag on each line, in the first and last column unless options say.

    A first column that counts from 1 in each sentence is an index, as in CoNLL-U and GermEval; the words are then in
    the second. Lines of tabs alone are blank too. A line that begins with # is a word where it has as many columns as
    the others and, between spaces, a tag of the others or of the form B-name; else it is a comment. A first line with
    names of columns is left out. A sentence with a bad line is left out whole. Without `tagged` the lines may have
    words alone, and no tags are read. What the columns are is known when all lines have been seen: a file of more
    lines than `HELD` is read twice for it.

    Raises:
        DataError: for a file without such lines, or a column that cannot be words or tags.
    """
    path = source.path
    first = _lines(source)
    held = list(itertools.islice(first, HELD if source.stream is None else None))
    again = len(held) == HELD and source.stream is None
    columns = word_columns(path, itertools.chain(held, first), options, tagged)
    width, word, tag = columns.width, columns.word, columns.tag
    sentence: list[tuple[int, list[str]]] = []

    def finished() -> Iterator[WordsExample]:
        try:
            if sentence:
                yield _sentence(sentence, width, word, tag if tagged else None, options.label_names or ())
        except _BadLine as e:
            bad.add(e.line, str(e))
        sentence.clear()

    for number, line, cells in _lines(source) if again else held:
        if number == columns.header:
            continue
        if cells is None or cells[0] == NEW_DOCUMENT:
            yield from finished()
        elif columns.indexed and SPAN.fullmatch(cells[0]):
            continue  # CoNLL-U: words that stand in one, or none
        elif not cells[0].startswith("#") or (
            len(cells) == width and ("\t" in line or cells[tag] in columns.tags or TAG.fullmatch(cells[tag]))
        ):
            sentence.append((number, cells))
    yield from finished()


def _lines(source: Source) -> Iterator[Line]:
    for number, line in source.numbered():
        yield number, line, _cells(line) if line.strip() else None


class _BadLine(BadRow):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _cells(line: str) -> list[str]:
    """The columns of a line: with a tab in it, what stands between tabs, and else between spaces."""
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _sentence(
    lines: list[tuple[int, list[str]]], width: int, word: int, tag: int | None, known: Sequence[str]
) -> WordsExample:
    for number, cells in lines:
        if not is_utf8("".join(cells)):
            raise _BadLine(number, NOT_UTF8)
        if len(cells) != width:
            raise _BadLine(number, f"wanted {width} columns as in the other lines, got {len(cells)}: {brief(cells)}.")
        if not cells[word] or (tag is not None and not cells[tag].strip()):
            raise _BadLine(number, f"wanted a word and its tag, one is empty: {brief(cells)}.")
    words = tuple(cells[word] for _, cells in lines)
    tags = () if tag is None else tuple(_tag(number, cells[tag], known) for number, cells in lines)
    return WordsExample(lines[0][0], words, tags)


def _tag(line: int, text: str, known: Sequence[str]) -> str:
    try:
        return label_of(text, "tag", known)
    except BadRow as e:
        raise _BadLine(line, str(e)) from None


def read_lists(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[WordsExample]:
    """The sentences of a table with a list of words and one of tags in each row, which in a cell may be text.

    Tags are names, or numbers (see `label_names`).
    """
    table = read_table(source, options, bad)
    words_column = column(table, *named(options, "text_column", "word_column"), WORDS)
    tags_column = column(table, *named(options, "label_column", "tag_column"), TAGS)
    for line, row in table.rows:
        with bad.row(line):
            words_key, tags_key = key_in(row, words_column), key_in(row, tags_column)
            words, tags = words_of(row, words_key), unwritten(cell(row, tags_key))
            if not isinstance(tags, list):
                raise BadRow(f"{tags_key} must be a list, got {type(tags).__name__} {brief(tags)}.")
            if len(words) != len(tags):
                raise BadRow(f"wanted a tag for each word, got {len(words)} words and {len(tags)} tags.")
            if not words:
                raise BadRow(f"{words_key} is empty.")
            known = options.label_names or ()
            yield WordsExample(line, words, tuple(label_of(each, "tag", known) for each in tags))


def words_of(row: Any, key: Any) -> tuple[str, ...]:
    """The words of a list of them; raises BadRow."""
    key = key_in(row, key)
    words = unwritten(cell(row, key))
    if not isinstance(words, list):
        raise BadRow(f"{key} must be a list, got {type(words).__name__} {brief(words)}.")
    for each in words:
        if not isinstance(each, str) or not each:
            raise BadRow(f"{key} must be words that are not empty, got {brief(each)}.")
    return tuple(words)


def looks_tagged(source: Source) -> bool:
    """Whether the first lines of a file are words with a tag each, and no sentences."""
    lines = [line for _, line in itertools.islice(source.numbered(), _LOOKED_AT)]
    cells = [_cells(line) for line in lines if line.strip()]
    words = [each for each in cells if not is_aside(each)]
    return len({len(each) for each in words}) == 1 and all(
        len(each) > 1 and (each[-1].strip() == OUTSIDE or TAG.fullmatch(each[-1].strip())) for each in words
    )


def read_words(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[WordsExample]:
    """The sentences of a file of either form, which its ending says."""
    return (read_lists if source.form in LISTS else read_columns)(source, options, bad)


LISTS = (".jsonl", ".csv", *ARROW_FILES)  # endings of tables with a sentence in a row
COLUMNS = (".conll", ".conllu", ".tsv", ".txt", ".bio", ".iob", ".iob2")  # of files with a word on a line
TAGGED_WORDS = Reader(
    (*COLUMNS, *LISTS),
    ("text_column", "label_column", "word_column", "tag_column", "label_names"),
    read_words,
)

"""Words with tags: CoNLL's columns with a blank line after each sentence, or JSON lines with two lists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .arrow_files import ARROW_FILES
from .columns import cell, column
from .examples import BadRow, BadRows, ReadOptions, WordsExample, brief
from .label_cells import label_of, unwritten
from .reading import Reader
from .sources import NOT_UTF8, Source, is_utf8
from .table_files import read_table

WORDS = ("tokens", "words")
TAGS = ("tags", "labels", "ner_tags")
_NEW_DOCUMENT = "-DOCSTART-"
_OUTSIDE = "O"
_LOOKED_AT = 50  # lines
_TAG = re.compile("[BIESLUM]-.+")
_SPAN = re.compile(r"[0-9]+[-.][0-9]+")  # in place of an index: of several words, or of one that is left out
# What a first line calls the columns, in lower case.
_WORD_NAMES = ("word", "words", "token", "tokens", "form", "text")
_TAG_NAMES = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "entity", "pos")


def read_columns(source: Source, options: ReadOptions, bad: BadRows, tagged: bool = True) -> Iterator[WordsExample]:
    """The sentences of a file with a word and its tag on each line, in the first and last column unless options say.

    A first column that counts from 1 in each sentence is an index, as in CoNLL-U and GermEval; the words are then in
    the second. Lines of tabs alone are blank too. A line that begins with # is a word where it has as many columns as
    the others and, between spaces, a tag of the others or of the form B-name; else it is a comment. A first line with
    names of columns is left out. A sentence with a bad line is left out whole. Without `tagged` the lines may have
    words alone, and no tags are read.

    Raises:
        DataError: for a file without such lines, or a column that cannot be words or tags.
    """
    path = source.path
    lines = list(source.numbered())
    split = {number: _cells(line) for number, line in lines if line.strip()}
    sure = {n: cells for n, cells in split.items() if not cells[0].startswith(("#", _NEW_DOCUMENT))}
    if not sure:
        raise DataError(f"{path}: wanted a word and its tag on each line, got no such line.")
    width = len(next(iter(sure.values())))
    if width < 2 and tagged:
        raise DataError(
            f"{path}: wanted a word and its tag on each line, in columns with a tab or spaces between, got one "
            f"column: {brief(next(iter(sure.values())))}."
        )
    header = _header(lines, split, sure, options)
    for number in [] if header is None else [header]:
        del split[number], sure[number]
    indexed = width > 1 and _is_index(lines, sure, 0)
    word = _place(path, *_named(options, "text_column", "word_column"), width, int(indexed))
    tag = _place(path, *_named(options, "label_column", "tag_column"), width, width - 1)
    _check_places(path, lines, sure, word, tag if tagged else None, options)
    tags = {cells[tag] for cells in sure.values() if len(cells) == width}
    sentence: list[tuple[int, list[str]]] = []

    def finished() -> Iterator[WordsExample]:
        try:
            if sentence:
                yield _sentence(sentence, width, word, tag if tagged else None, options.label_names or ())
        except _BadLine as e:
            bad.add(e.line, str(e))
        sentence.clear()

    for number, line in lines:
        cells = split.get(number)
        if cells is None:
            if number != header:
                yield from finished()
        elif cells[0] == _NEW_DOCUMENT:
            yield from finished()
        elif indexed and _SPAN.fullmatch(cells[0]):
            continue  # CoNLL-U: words that stand in one, or none
        elif not cells[0].startswith("#") or (
            len(cells) == width and ("\t" in line or cells[tag] in tags or _TAG.fullmatch(cells[tag]))
        ):
            sentence.append((number, cells))
    yield from finished()


def _named(options: ReadOptions, old: str, new: str) -> tuple[str, str | None]:
    """The option that names a column, under one of its two names, and its value."""
    if getattr(options, new) is not None:
        if getattr(options, old) is not None:
            raise DataError(f"{new} and {old} name the same column. Leave one out.")
        return new, getattr(options, new)
    return old, getattr(options, old)


def _sentences(lines: list[tuple[int, str]], sure: Mapping[int, list[str]]) -> Iterator[list[list[str]]]:
    """The cells of each sentence, line by line."""
    for words, group in itertools.groupby(lines, key=lambda each: each[0] in sure):
        if words:
            yield [sure[number] for number, _ in group]


def _is_index(lines: list[tuple[int, str]], sure: Mapping[int, list[str]], place: int) -> bool:
    """Whether a column counts from 1 in every sentence; in a file of single words it must be a 1 in several."""
    count = longest = 0
    for sentence in _sentences(lines, sure):
        numbers = [cells[place] for cells in sentence if len(cells) > place and not _SPAN.fullmatch(cells[place])]
        if numbers != [str(n) for n in range(1, len(numbers) + 1)]:
            return False
        count, longest = count + 1, max(longest, len(numbers))
    return longest > 1 or count > 2


def _header(
    lines: list[tuple[int, str]], split: Mapping[int, list[str]], sure: Mapping[int, list[str]], options: ReadOptions
) -> int | None:
    """The number of a first line that names the columns, or None: names that are usual for words and for tags."""
    number, cells = next(iter(sure.items()))
    names = [cell.strip().lower() for cell in cells]
    if number != min(n for n in split) or len(sure) < 2 or len(names) < 2:
        return None
    of_words, of_tags = any(name in _WORD_NAMES for name in names[:-1]), names[-1] in _TAG_NAMES
    return number if of_words and of_tags else None


def _check_places(
    path: Path,
    lines: list[tuple[int, str]],
    sure: Mapping[int, list[str]],
    word: int,
    tag: int | None,
    options: ReadOptions,
) -> None:
    """Raises DataError where words and tags are one column, or a column that was not named cannot be what it is for."""
    if word == tag:
        raise DataError(f"{path}: words and tags are both column {word + 1}. Name them by word_column and tag_column.")
    if options.text_column is None and options.word_column is None:
        words = [cells[word] for cells in sure.values() if len(cells) > word]
        if len(words) > 1 and all(each.isdecimal() for each in words):
            raise DataError(
                f"{path}: column {word + 1} holds numbers alone, such as {words[0]!r}. Name the column of the words by "
                "word_column (text_column)."
            )
    unnamed = options.label_column is None and options.tag_column is None
    if tag is not None and unnamed and _is_index(lines, sure, tag):
        raise DataError(f"{path}: column {tag + 1} counts the words. Name the column of the tags by tag_column.")


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
    words_key = column(table, *_named(options, "text_column", "word_column"), WORDS)
    tags_key = column(table, *_named(options, "label_column", "tag_column"), TAGS)
    for line, row in table.rows:
        with bad.row(line):
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
    words = [each for each in cells if not each[0].startswith(("#", _NEW_DOCUMENT))]
    return len({len(each) for each in words}) == 1 and all(
        len(each) > 1 and (each[-1].strip() == _OUTSIDE or _TAG.fullmatch(each[-1].strip())) for each in words
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

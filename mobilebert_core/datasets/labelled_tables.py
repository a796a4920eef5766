"""Tables with a label in each row: texts or pairs of texts, and texts with several choices to go on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from ..configuration.fields import MULTI_LABEL
from ..errors import DataError
from .columns import LABEL, cell, check_apart, column, pair_of, several_of, text_columns, text_of
from .examples import BadRow, BadRows, ChoiceExample, ReadOptions, TextExample
from .label_cells import (
    IGNORED,
    columns_of,
    label_of,
    labels_of,
    numbers_of,
    probabilities_of,
    unwritten,
    vector_of,
)
from .labels_seen import LabelsSeen
from .reading import Reader
from .sources import Source
from .table_files import TABLES, Table, read_table

HELD = 1 << 18  # rows that are in memory together, about 100 MB
_REMEMBERED = 1 << 16  # different cells with labels

Labels = tuple[str | tuple[str, ...], tuple[float, ...] | None]  # of a row, and their probabilities
CHOICE_TEXT = ("text", "question", "sent1")  # usual names of the text before choices
_CHOICES = "choice0, choice1 ... or ending0, ending1 ..., or a list choices"


def read_labelled_texts(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[TextExample]:
    """The rows of a table with a text, maybe a second one, and a label or several.

    Lists that can only be vectors are one number for each label, whose names are `label_names` or else 0, 1 ...
    What the labels are is known when all have been seen: a file of more rows than `HELD` is read twice for it.
    """
    seen = LabelsSeen(options)
    first = BadRows(bad.path, bad.skip)
    rows = _texts(source, options, first)
    held = list(itertools.islice(rows, HELD if source.stream is None else None))
    for row in held:
        seen.add(row[3])
    again = len(held) == HELD and source.stream is None
    if again:
        held = []
        for row in rows:
            seen.add(row[3])
    else:
        bad.messages += first.messages
    length = None if options.label_columns else seen.length_of_vectors
    if length is not None and options.label_names is not None and len(options.label_names) != length:
        raise DataError(
            f"{source.path}: wanted as many label_names as the labels of a row have numbers, {length}, got "
            f"{len(options.label_names)}."
        )
    label_of_row = _labels_reader(options, length, None if seen.learns_numbers else IGNORED)
    for line, text, pair, value in _texts(source, options, bad) if again else held:
        try:
            label, shares = label_of_row(value)
        except BadRow as e:
            bad.add(line, str(e))
        else:
            yield TextExample(line, text, pair, label, shares)


def _labels_reader(options: ReadOptions, length: int | None, ignored: str | None) -> Callable[[Any], Labels]:
    """Reads a cell as labels and their probabilities; raises BadRow. `length` is that of vectors."""
    several = options.label_separator is not None or options.problem_type == MULTI_LABEL
    known = options.label_names or ()
    names = known or tuple(map(str, range(length or 0)))
    read: dict[str, Labels] = {}  # few labels stand in many rows

    def labels(value: Any) -> Labels:
        if options.label_columns:
            return options.label_columns, value
        if length is not None:
            return names, vector_of(numbers_of(value, options.label_separator), length)
        if several or isinstance(value, list | dict):
            probabilities = probabilities_of(value) if isinstance(value, dict) else None
            return labels_of(value, options.label_separator, known, ignored), probabilities
        return label_of(value, known=known, ignored=ignored), None

    def remembered(value: Any) -> Labels:
        if not isinstance(value, str):
            return labels(value)
        found = read.get(value)
        if found is None:
            found = labels(value)
            if len(read) < _REMEMBERED:
                read[value] = found
        return found

    return remembered


def _texts(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[tuple[int, str, str | None, Any]]:
    """The line, the texts and what stands for labels of each row: a cell, or the numbers of `label_columns`."""
    table = read_table(source, options, bad)
    text_key, pair_key = text_columns(table, options)
    wanted = options.label_columns
    if wanted:
        label_keys = [column(table, "label_columns", name) for name in wanted]
    else:
        label_key = column(table, "label_column", options.label_column, LABEL)
    check_apart(table, text_column=text_key, pair_column=pair_key, label_column=None if wanted else label_key)
    for line, row in table.rows:
        try:
            text, pair = text_of(row, text_key, "text"), pair_of(row, pair_key)
            if wanted:
                value: Any = columns_of(row, label_keys, wanted)
            else:
                value = cell(row, label_key)
                value = value if options.label_separator is not None else unwritten(value)
        except BadRow as e:
            bad.add(line, str(e))
        else:
            yield line, text, pair, value


def read_choices(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[ChoiceExample]:
    """The rows of a table with a text, its choices and the right one.

    Of SWAG's columns the second text begins each choice, as in its published baselines.
    """
    table = read_table(source, options, bad)
    text_key = column(table, "text_column", options.text_column, CHOICE_TEXT)
    label_key = column(table, "label_column", options.label_column, LABEL)
    begins = beginnings(table, options.text_column)
    check_apart(table, text_column=text_key, label_column=label_key)
    keys = choice_columns(table)
    count = 0
    for line, row in table.rows:
        with bad.row(line):
            text, choices = text_of(row, text_key, "text"), choices_of(row, keys, table.separated)
            choices = begun(choices, begins(row))
            if len(choices) < 2 or (count and len(choices) != count):
                wanted = f"{count} choices as in the rows before" if count else "at least 2 choices"
                raise BadRow(f"wanted {wanted}, got {len(choices)}.")
            label = _right_choice(
                label_of(cell(row, label_key), known=options.label_names or ()), len(choices), options.label_names
            )
            count = len(choices)
            yield ChoiceExample(line, text, choices, label)


def beginnings(table: Table, text_column: str | None) -> Callable[[Any], Any]:
    """What takes from a row what each choice begins with, of SWAG's columns: None of others."""
    texts = CHOICE_TEXT if text_column is None else (text_column,)

    def begins(row: Any) -> Any:
        keys = row if table.by_name else table.keys
        swag = [name for name in texts if name in keys] == ["sent1"] and "sent2" in keys
        return row["sent2" if table.by_name else keys["sent2"]] if swag else None

    return begins


def begun(choices: Iterable[str], start: Any) -> tuple[str, ...]:
    """The choices, each after a text, if it is one."""
    if not isinstance(start, str) or not start.strip():
        return tuple(choices)
    return tuple(f"{start.strip()} {choice}" for choice in choices)


def choice_columns(table: Table) -> Any:
    """The key of `choices`, or a list with that of choice0, choice1 ... or ending0, ending1 ... each.

    None in JSON lines, where each row is looked at for itself.
    """
    if table.by_name:
        return None
    if "choices" in table.keys:
        return table.keys["choices"]
    if not (names := numbered(table.keys)):
        raise DataError(
            f"{table.path}: no columns with choices; wanted {_CHOICES}. There are {', '.join(map(repr, table.keys))}."
        )
    return [column(table, "the column of a choice", name) for name in names]


def choices_of(row: Any, keys: Any, written: bool) -> tuple[str, ...]:
    """The choices of a row, in its columns or as a list, which may be `written` as text; raises BadRow."""
    if keys is None:
        keys = "choices" if "choices" in row else numbered(row)
    if not keys and keys != 0:
        raise BadRow(f"wanted {_CHOICES}, got {', '.join(map(repr, row)) or 'none'}.")
    found = [cell(row, key) for key in keys] if isinstance(keys, list) else cell(row, keys)
    found = several_of(found) if written else found
    if not isinstance(found, list):
        raise BadRow(f"choices must be a list of texts, got {type(found).__name__}.")
    return tuple(text_of(found, i, f"choice {i}") for i in range(len(found)))


def numbered(names: Container[str]) -> list[str]:
    """choice0, choice1 ... or else ending0, ending1 ..., of those that are there."""
    for stem in ("choice", "ending"):
        every = (f"{stem}{number}" for number in itertools.count())
        if found := list(itertools.takewhile(names.__contains__, every)):
            return found
    return []


def _right_choice(label: str, count: int, names: tuple[str, ...] | None) -> int:
    """The number of the right choice, from its number or its place among the names; raises BadRow."""
    if names is not None and label in names[:count]:
        return names.index(label)
    if label.isdecimal() and len(label) < 10 and int(label) < count:
        return int(label)
    raise BadRow(f"label must be the number of the right choice, 0 to {count - 1}, got {label!r}.")


LABELLED_TEXTS = Reader(TABLES, tuple(ReadOptions.__dataclass_fields__), read_labelled_texts)
CHOICES = Reader(TABLES, ("text_column", "label_column", "label_names", "header"), read_choices)

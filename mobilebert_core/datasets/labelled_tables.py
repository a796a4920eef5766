"""Tables with a label in each row: texts or pairs of texts, and texts with several choices to go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..configuration.fields import MULTI_LABEL
from ..errors import DataError
from .columns import LABEL, PAIR, TEXT, cell, column, label_of, labels_of, probabilities_of, text_of
from .examples import BadRow, BadRows, ChoiceExample, ReadOptions, TextExample
from .reading import Reader
from .table_files import TABLES, Table, ending, read_table


def read_labelled_texts(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[TextExample]:
    """The rows of a table with a text, maybe a second one, and a label or several."""
    table = read_table(path, options, bad)
    text_key = column(table, "text_column", options.text_column, TEXT)
    # Who names the text means this text: a second one is then read only where it is named too.
    usual = PAIR if options.text_column is None else ()
    pair_key = column(table, "pair_column", options.pair_column, usual, needed=False)
    label_key = column(table, "label_column", options.label_column, LABEL)
    several = options.label_separator is not None or options.problem_type == MULTI_LABEL
    for line, row in table.rows:
        with bad.row(line):
            text = text_of(row, text_key, "text")
            pair = None if pair_key is None else text_of(row, pair_key, "the second text")
            value = cell(row, label_key)
            whole = several or isinstance(value, list | dict)
            label = labels_of(value, options.label_separator) if whole else label_of(value)
            yield TextExample(line, text, pair, label, probabilities_of(value) if isinstance(value, dict) else None)


def read_choices(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[ChoiceExample]:
    """The rows of a table with a text, its choices and the right one.

    Of SWAG's columns the second text begins each choice, as in its published baselines.
    """
    table = read_table(path, options, bad)
    text_key = column(table, "text_column", options.text_column, ("text", "question", "sent1"))
    label_key = column(table, "label_column", options.label_column, LABEL)
    begins = table.keys.get("sent2") if text_key == table.keys.get("sent1") else None
    single = table.keys.get("choices") if ending(table.path) == ".jsonl" else None
    keys = [single] if single is not None else _numbered(table)
    count = 0
    for line, row in table.rows:
        with bad.row(line):
            text = text_of(row, text_key, "text")
            found = cell(row, single) if single is not None else [cell(row, key) for key in keys]
            if not isinstance(found, list):
                raise BadRow(f"choices must be a list of texts, got {type(found).__name__}.")
            choices = tuple(text_of(found, i, f"choice {i}") for i in range(len(found)))
            if begins is not None and isinstance(cell(row, begins), str) and row[begins].strip():
                choices = tuple(f"{row[begins].strip()} {choice}" for choice in choices)
            if len(choices) < 2 or (count and len(choices) != count):
                wanted = f"{count} choices as in the rows before" if count else "at least 2 choices"
                raise BadRow(f"wanted {wanted}, got {len(choices)}.")
            label = _right_choice(label_of(cell(row, label_key)), len(choices), options.label_names)
            count = len(choices)
            yield ChoiceExample(line, text, choices, label)


def _numbered(table: Table) -> list[Any]:
    """The keys of choice0, choice1 ... or ending0, ending1 ..."""
    for name in ("choice", "ending"):
        keys: list[Any] = []
        while f"{name}{len(keys)}" in table.keys:
            keys.append(column(table, "the column of a choice", f"{name}{len(keys)}"))
        if keys:
            return keys
    raise DataError(
        f"{table.path}: no columns with choices; wanted choice0, choice1 ... or ending0, ending1 ..., or a list "
        f"choices in JSON lines. There are {', '.join(map(repr, table.keys))}."
    )


def _right_choice(label: str, count: int, names: tuple[str, ...] | None) -> int:
    """The number of the right choice, from its number or its place among the names; raises BadRow."""
    if names is not None and label in names[:count]:
        return names.index(label)
    if label.isdecimal() and int(label) < count:
        return int(label)
    raise BadRow(f"label must be the number of the right choice, 0 to {count - 1}, got {label!r}.")


LABELLED_TEXTS = Reader(TABLES, tuple(ReadOptions.__dataclass_fields__), read_labelled_texts)
CHOICES = Reader(TABLES, ("text_column", "label_column", "label_names", "header"), read_choices)

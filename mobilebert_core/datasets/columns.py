"""Which column of a table is the text and which the label, and what stands in their cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from ..spelling import did_you_mean
from .examples import BadRow, ReadOptions, brief
from .table_files import Table

TEXT = ("text", "sentence", "sentence1", "text1", "premise")
PAIR = ("text_pair", "sentence2", "text2", "hypothesis")
LABEL = ("label", "labels")


@dataclass(frozen=True)
class Named:
    """The key of a column in rows that each have their own keys (JSON lines): the one of these names that a row has."""

    option: str
    names: tuple[str, ...]
    needed: bool

    def __str__(self) -> str:
        return " or ".join(self.names)

    def of(self, row: Mapping[str, Any]) -> str | None:
        """The key; None where the row has none and none is needed. Raises BadRow."""
        found = [name for name in self.names if name in row]
        if len(found) > 1:
            raise BadRow(f"{' and '.join(found)} could each be {self.option}. Name it.")
        if not found and self.needed:
            hint = did_you_mean(self.names[0], row) if len(self.names) == 1 else ""
            raise BadRow(f"wanted the key {' or '.join(map(repr, self.names))}, got {_listed(row)}.{hint}")
        return found[0] if found else None


def column(
    table: Table,
    option: str,
    wanted: str | None,
    usual: Sequence[str] = (),
    needed: bool = True,
) -> Any:
    """The key of a column: the one named by an option, or else the one of the usual names that the table has.

    None where none of the usual names is there and none is `needed`. In JSON lines each row is looked at for itself,
    in training and in prediction; one that lacks the key is a bad row.

    Raises:
        DataError: for a column that is not there or there twice, or when several usual names fit.
    """
    if table.by_name:
        return Named(option, tuple(usual), needed) if wanted is None else Named(option, (wanted,), True)
    if wanted is not None:
        if wanted in table.twice:
            raise DataError(f"{table.path}: {option} {wanted!r} stands twice in the header. Rename one.")
        if wanted in table.keys:
            return table.keys[wanted]
        hint = _separators(table) or did_you_mean(wanted, table.keys)
        raise DataError(f"{table.path}: no column {wanted!r} ({option}); {_there_is(table)}.{hint}")
    found = [name for name in usual if name in table.keys]
    if len(found) == 1:
        return column(table, option, found[0])
    if found:
        raise DataError(f"{table.path}: {' and '.join(found)} could each be {option}; {_there_is(table)}. Name it.")
    if not needed:
        return None
    either = " or ".join(usual)
    if table.header:
        raise DataError(
            f"{table.path}: no column {either}; {_there_is(table)}."
            + (_separators(table) or f" Name it by {option}, or pass header=False if the first row is data.")
        )
    raise DataError(f"{table.path}: without a header, {option} must be the number of a column; {_there_is(table)}.")


def _separators(table: Table) -> str:
    """What to do about a table of one column that looks like several."""
    if len(table.keys) > 1 or not table.separated or not re.search(r"[;,\t|]", next(iter(table.keys), "")):
        return ""
    return " Columns of a .csv file stand between commas, those of a .tsv file between tabs: save it so."


def _there_is(table: Table) -> str:
    if not table.header:
        return f"there are columns 1 to {len(table.keys)}"
    return f"the header is {_listed(table.keys)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def key_in(row: Any, key: Any) -> Any:
    """The key of a column in this row; raises BadRow where a JSON object lacks it."""
    return key.of(row) if isinstance(key, Named) else key


def cell(row: Any, key: Any) -> Any:
    """What stands in a column of a row, None where it needs none; raises BadRow where a JSON object lacks the key."""
    key = key_in(row, key)
    if key is None:
        return None
    try:
        return row[key]
    except KeyError:
        raise BadRow(f"wanted the key {key!r}, got {_listed(row)}.") from None


def text_of(row: Any, key: Any, name: str) -> str:
    """A text that is not empty; raises BadRow."""
    value = cell(row, key)
    if not isinstance(value, str):
        raise BadRow(f"{name} must be text, got {type(value).__name__} {brief(value)}.")
    if not value.strip():
        raise BadRow(f"{name} is empty.")
    return value


def text_columns(table: Table, options: ReadOptions) -> Any:
    """The keys of the text and of the second one, None where there is none.

    Who names the text means this text: a second one is then read only where it is named too.
    """
    text_key = column(table, "text_column", options.text_column, TEXT)
    usual = PAIR if options.text_column is None else ()
    return text_key, column(table, "pair_column", options.pair_column, usual, needed=False)


def several_of(value: Any) -> Any:
    """A list of texts that stands in one cell, as JSON or with | between; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else [text.strip() for text in value.split("|")]


def check_apart(table: Table, **keys: Any) -> None:
    """Raises DataError where two columns, by what they are for, are one."""
    named = [(name, key) for name, key in keys.items() if key is not None]
    for i, (name, key) in enumerate(named):
        for other, same in named[:i]:
            one = set(key.names) & set(same.names) if isinstance(key, Named) else key == same
            if one:
                there = "" if table.by_name else f"; {_there_is(table)}"
                raise DataError(f"{table.path}: {other} and {name} are one column{there}. Name two.")


def pair_of(row: Any, key: Any) -> str | None:
    """The second text, None where the row has none: no column, no such key, or null; raises BadRow."""
    return None if cell(row, key) is None else text_of(row, key, "the second text")

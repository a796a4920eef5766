"""Which column of a table is the text and which the label, and what stands in their cells."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from ..errors import DataError
from .examples import BadRow, brief
from .table_files import Table, ending

TEXT = ("text", "sentence", "sentence1", "text1", "premise")
PAIR = ("text_pair", "sentence2", "text2", "hypothesis")
LABEL = ("label", "labels")


def column(table: Table, option: str, wanted: str | None, usual: Sequence[str] = (), needed: bool = True) -> Any:
    """The key of a column: the one named by an option, or else the one of the usual names that the table has.

    None where none of the usual names is there and none is `needed`.

    Raises:
        DataError: for a column that is not there or there twice, or when several usual names fit.
    """
    if wanted is not None:
        if wanted in table.twice:
            raise DataError(f"{table.path}: {option} {wanted!r} stands twice in the header. Rename one.")
        if wanted in table.keys:
            return table.keys[wanted]
        near = difflib.get_close_matches(wanted, table.keys, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{table.path}: no column {wanted!r} ({option}); {_there_is(table)}.{hint}")
    found = [name for name in usual if name in table.keys]
    if len(found) == 1:
        return column(table, option, found[0])
    if found:
        raise DataError(f"{table.path}: {' and '.join(found)} could each be {option}; {_there_is(table)}. Name it.")
    if not needed:
        return None
    hint = ""
    if len(table.keys) == 1 and table.header and ending(table.path) != ".jsonl":
        hint = " Are the columns separated by something else?"
    either = " or ".join(usual)
    if table.header:
        raise DataError(
            f"{table.path}: no column {either}; {_there_is(table)}. Name it by {option}, or pass header=False if "
            f"the first row is data.{hint}"
        )
    raise DataError(f"{table.path}: without a header, {option} must be the number of a column; {_there_is(table)}.")


def _there_is(table: Table) -> str:
    if not table.header:
        return f"there are columns 1 to {len(table.keys)}"
    kind = "the first row has the keys" if ending(table.path) == ".jsonl" else "the header is"
    return f"{kind} {', '.join(map(repr, table.keys))}"


def cell(row: Any, key: Any) -> Any:
    """What stands in a column of a row; raises BadRow where a JSON object lacks the key."""
    try:
        return row[key]
    except KeyError:
        raise BadRow(f"wanted the key {key!r}, got {', '.join(map(repr, row)) or 'none'}.") from None


def text_of(row: Any, key: Any, name: str) -> str:
    """A text that is not empty; raises BadRow."""
    value = cell(row, key)
    if not isinstance(value, str):
        raise BadRow(f"{name} must be text, got {type(value).__name__} {brief(value)}.")
    if not value.strip():
        raise BadRow(f"{name} is empty.")
    return value


def label_of(value: Any, name: str = "label") -> str:
    """A label as text: numbers of JSON as they would stand in a table, 2.0 as 2; raises BadRow."""
    if isinstance(value, str):
        if not value.strip():
            raise BadRow(f"{name} is empty.")
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise BadRow(f"{name} must be a name or a number, got {type(value).__name__} {brief(value)}.")


def probabilities_of(value: dict[str, Any]) -> tuple[float, ...]:
    """The probabilities of an object of labels; raises BadRow."""
    for name, share in value.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise BadRow(f"the share of label {name!r} must be a number from 0 to 1, got {brief(share)}.")
    return tuple(map(float, value.values()))


def labels_of(value: Any, separator: str | None) -> tuple[str, ...]:
    """Several labels, or none, from a list, the keys of an object, or text with a separator; raises BadRow."""
    if isinstance(value, list | dict):
        return tuple(label_of(each) for each in value)
    if separator is None or not isinstance(value, str):
        return (label_of(value),)
    return tuple(label_of(each) for each in value.split(separator)) if value.strip() else ()

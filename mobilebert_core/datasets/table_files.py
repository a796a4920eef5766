"""CSV, TSV and JSON lines as rows that know their line; a column's key takes its cell from a row, of any format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import DataError
from .examples import BadRows, ReadOptions, brief

TABLES = (".csv", ".tsv", ".jsonl")  # endings of the files that `read_table` takes
NOT_UTF8 = "wanted UTF-8 text, got other bytes."


@dataclass(frozen=True)
class Table:
    """Rows are (line, cells); `keys` maps the name of a column to what takes its cell from `cells`."""

    path: Path
    keys: dict[str, Any]
    rows: Iterator[tuple[int, Any]]
    twice: frozenset[str] = frozenset()  # names that the header has more than once
    header: bool = True


def ending(path: Path) -> str:
    """The ending of a file's name, in lower case, by which its format is known."""
    return path.suffix.lower()


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark; bytes that are not UTF-8 are lone surrogates in it.

    Raises:
        DataError: for a file that is not there, cannot be read or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(f"{path}: wanted a data file, cannot read it ({e.strerror}).") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: wanted UTF-8 text, got UTF-16. Save it as UTF-8.")
    text = data.decode("utf-8-sig", "surrogateescape")
    if not text.strip():
        raise DataError(f"{path}: wanted rows of data, the file is empty.")
    return text


def is_utf8(text: str) -> bool:
    """False for text with bytes in it that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_table(path: Path, options: ReadOptions, bad: BadRows) -> Table:
    """Opens a table by its ending. The header, or the first row, says how many columns each row has.

    Raises:
        DataError: for a file of another format, one that cannot be read, or an empty one.
    """
    text = read_text(path)
    if ending(path) == ".jsonl":
        rows: Iterator[tuple[int, Any]] = _json_rows(text, bad)
    else:
        rows = _csv_rows(path, text, bad) if ending(path) == ".csv" else _tsv_rows(text, bad)
    first = next(rows, None)
    if first is None:
        why = f" The first: {bad.messages[0]}" if bad.messages else ""
        raise DataError(f"{path}: wanted rows of data, got none that can be read.{why}")
    if ending(path) == ".jsonl":
        return Table(path, {name: name for name in first[1]}, chain([first], rows))
    width = len(first[1])
    if options.header:
        names = [name.strip() for name in first[1]]
        twice = frozenset(name for name in names if names.count(name) > 1)
        return Table(path, {name: i for i, name in enumerate(names)}, _of_width(rows, width, bad), twice)
    keys = {str(i + 1): i for i in range(width)}
    return Table(path, keys, _of_width(chain([first], rows), width, bad), header=False)


def _csv_rows(path: Path, text: str, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            if "unexpected end of data" in str(e):  # all that follows stands in this cell: too much to skip
                raise DataError(
                    f"{path}:{line}: a quotation mark opens a cell that never ends. Close it, or write a mark inside "
                    "a cell twice."
                ) from None
            bad.add(line, f"wanted comma-separated values, got a row that breaks off: {e}.")
            continue
        if not cells:
            continue
        if is_utf8("".join(cells)):
            yield line, cells
        else:
            bad.add(line, NOT_UTF8)


def _tsv_rows(text: str, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line:
            continue
        if is_utf8(line):
            yield number, line.split("\t")
        else:
            bad.add(number, NOT_UTF8)


def _json_rows(text: str, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if not is_utf8(line):
            bad.add(number, NOT_UTF8)
            continue
        try:
            row = json.loads(line)
        except ValueError as e:
            bad.add(number, f"wanted a JSON object on the line, got text that is not JSON ({e}).")
            continue
        except RecursionError:
            bad.add(number, "wanted a JSON object on the line, got one that is nested too deeply.")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            bad.add(number, f"wanted a JSON object on the line, got {type(row).__name__} {brief(row)}.")


def _of_width(rows: Iterator[tuple[int, list[str]]], width: int, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    for line, cells in rows:
        if len(cells) == width:
            yield line, cells
        else:
            bad.add(line, f"wanted {width} columns, got {len(cells)}: {brief(cells)}.")

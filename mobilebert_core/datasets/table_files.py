"""CSV, TSV, JSON lines, Parquet and Arrow as rows that know their line, of any format read in the same way."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import TwiceError, different_keys
from .arrow_files import ARROW_FILES, arrow_rows
from .examples import BadRows, ReadOptions, brief, place
from .sources import AS_UTF8, NOT_UTF8, Source, is_utf8

TABLES = (".csv", ".tsv", ".jsonl", *ARROW_FILES)  # endings of the files that `read_table` takes
_ROWS_AT_ONCE = 64
_LONGEST_CELL = 1 << 30  # characters; csv's own limit of 131,072 is for every reader of the process


@dataclass(frozen=True)
class Table:
    """Rows are (line, cells); `keys` maps the name of a column to what takes its cell from `cells`.

    With `by_name` a row is a mapping whose keys may differ from the first row's, which `keys` are: JSON lines.
    """

    path: Path
    keys: dict[str, Any]
    rows: Iterator[tuple[int, Any]]
    twice: frozenset[str] = field(default=frozenset())  # names that the header has more than once
    header: bool = True
    by_name: bool = False
    separated: bool = False  # by a sign that may be another one


def read_table(source: Source, options: ReadOptions, bad: BadRows, for_inputs: bool = False) -> Table:
    """Opens a table by its form. The header, or the first row, says how many columns each row has.

    With `for_inputs` a line of JSON may also be a text or a list of words, and none that can be read is no error.

    Raises:
        DataError: for a file that cannot be read, or an empty one.
        BackendMissingError: for Parquet and Arrow without pyarrow.
    """
    path, form = source.path, source.form
    if form in ARROW_FILES:
        columns, records = arrow_rows(source)
        return Table(path, {name: name for name in columns}, records)
    rows: Iterator[tuple[int, Any]]
    if form == ".jsonl":
        rows = _json_rows(source, bad, for_inputs)
        first = next(rows, None)
    else:
        header_first = _HeaderFirst(path=bad.path, skip=bad.skip, others=bad, found=not options.header)
        rows = _csv_rows(source, header_first) if form == ".csv" else _tsv_rows(source, header_first)
        header_first.found = (first := next(rows, None)) is not None
    if first is None:
        if for_inputs and form == ".jsonl":
            return Table(path, {}, rows, by_name=True)
        why = f" The first: {bad.messages[0]}" if bad.messages else ""
        raise DataError(f"{path}: wanted rows of data, got none that can be read.{why}")
    if form == ".jsonl":
        keys = first[1] if isinstance(first[1], dict) else {}
        return Table(path, {name: name for name in keys}, chain([first], rows), by_name=True)
    width, commas = len(first[1]), form == ".csv"
    if options.header:
        return _with_header(path, first[1], _of_width(rows, width, bad, first[1], commas=commas))
    keys = {str(i + 1): i for i in range(width)}
    return Table(path, keys, _of_width(chain([first], rows), width, bad, commas=commas), header=False, separated=True)


@dataclass(kw_only=True)
class _HeaderFirst(BadRows):
    """The bad rows of a table, none of which may come before its header: the row after it would be taken for it."""

    others: BadRows
    found: bool

    def add(self, line: int | str, message: str, advice: str = "Mend the row") -> None:
        if not self.found:
            raise DataError(f"{place(self.path, line)}: {message} It is the header: mend it.")
        self.others.add(line, message, advice)

    def lost(self, first: int, last: int, message: str, advice: str) -> None:
        self.others.lost(first, last, message, advice)


def _with_header(path: Path, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> Table:
    names = [name.strip() for name in header]
    twice = frozenset(name for name in names if names.count(name) > 1)
    return Table(path, {name: i for i, name in enumerate(names)}, rows, twice, separated=True)


def _csv_rows(source: Source, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    lines = source.lines(newline="")
    reader = csv.reader(lines, strict=True)
    while True:
        rows, line, error = _next_of(reader)
        for number, cells in rows:
            if not cells:
                continue
            if is_utf8("".join(cells)):
                yield number, cells
            else:
                bad.add(number, NOT_UTF8, AS_UTF8)
        if isinstance(error, StopIteration):
            return
        if error is None:
            continue
        if reader.line_num == line and "unexpected end of data" not in str(error):
            bad.add(line, f"wanted comma-separated values, got a row that breaks off: {error}.")
            continue
        # What follows stands in this cell, or in others that only look like it: nothing says where the next begins.
        ends = "never ends" if "unexpected end" in str(error) else f"ends within another, in line {reader.line_num}"
        last = reader.line_num + sum(1 for _ in lines)
        bad.lost(
            line, last, f"a quotation mark opens a cell that {ends}.",
            "Close it, or write a mark inside a cell twice",
        )  # fmt: skip
        return


def _next_of(reader: Any) -> tuple[list[tuple[int, list[str]]], int, Exception | None]:
    """The next rows by their line, with cells of any length; the line of the row after them, and what ended them.

    The limit is the process's, and left as it was.
    """
    rows: list[tuple[int, list[str]]] = []
    line = 0
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        for _ in range(_ROWS_AT_ONCE):
            line = reader.line_num + 1
            rows.append((line, next(reader)))
    except (StopIteration, csv.Error) as e:
        return rows, line, e
    finally:
        csv.field_size_limit(before)
    return rows, line, None


def _tsv_rows(source: Source, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    for number, line in source.numbered():
        if not line:
            continue
        if is_utf8(line):
            yield number, line.split("\t")
        else:
            bad.add(number, NOT_UTF8, AS_UTF8)


_DECODER = json.JSONDecoder(object_pairs_hook=different_keys)


def _json_rows(source: Source, bad: BadRows, alone: bool) -> Iterator[tuple[int, Any]]:
    for number, line in source.numbered():
        if not line.strip():
            continue
        if not is_utf8(line):
            bad.add(number, NOT_UTF8, AS_UTF8)
            continue
        try:
            row = _DECODER.decode(line)
        except TwiceError as e:
            bad.add(number, f"wanted different keys in a JSON object, got {str(e)!r} twice.")
        except ValueError as e:
            bad.add(number, f"wanted a JSON object on the line, got text that is not JSON ({e}).")
        except RecursionError:
            bad.add(number, "wanted a JSON object on the line, got one that is nested too deeply.")
        else:
            if isinstance(row, dict) or (alone and isinstance(row, str | list)):
                yield number, row
            else:
                bad.add(number, f"wanted a JSON object on the line, got {type(row).__name__} {brief(row)}.")


def _of_width(
    rows: Iterator[tuple[int, list[str]]], width: int, bad: BadRows, header: list[str] | None = None, *, commas: bool
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are as wide as the first, but for a header that stands there again, as where files were joined."""
    for line, cells in rows:
        if cells == header:
            bad.add(line, "wanted a row of data, got the header again.")
        elif len(cells) == width:
            yield line, cells
        else:
            more = ("Put a text with a comma in it between quotation marks",) * (len(cells) > width and commas)
            bad.add(line, f"wanted {width} columns, got {len(cells)}: {brief(cells)}.", *more)

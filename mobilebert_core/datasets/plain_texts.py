"""Texts without labels: a text on each line, or a column of a table."""

from __future__ import annotations

from collections.abc import Iterator

from .columns import TEXT, cell, column, text_of
from .examples import BadRows, ReadOptions
from .reading import Reader
from .sources import AS_UTF8, NOT_UTF8, Source, is_utf8
from .table_files import TABLES, read_table


def read_texts(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[str]:
    """The texts of a .txt file, one a line, or of a column of a table; one that is blank or missing ends a document."""
    if source.form == ".txt":
        before = 0
        for lines in source.blocks():
            if is_utf8("".join(lines)):
                yield from map(str.strip, lines)
            else:
                yield from _good_lines(lines, before, bad)
            before += len(lines)
        return
    table = read_table(source, options, bad)
    key = column(table, "text_column", options.text_column, TEXT)
    for number, row in table.rows:
        with bad.row(number):
            value = cell(row, key)
            ends = value is None or (isinstance(value, str) and not value.strip())
            yield "" if ends else text_of(row, key, "text")


def _good_lines(lines: list[str], before: int, bad: BadRows) -> Iterator[str]:
    """Those of some lines, which so many precede, that are UTF-8."""
    for number, line in enumerate(lines, before + 1):
        if is_utf8(line):
            yield line.strip()
        else:
            bad.add(number, NOT_UTF8, AS_UTF8)


PLAIN_TEXTS = Reader((".txt", *TABLES), ("text_column", "header"), read_texts)

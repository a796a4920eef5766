"""Texts without labels: a text on each line, or a column of a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .columns import TEXT, column, text_of
from .examples import BadRows, ReadOptions
from .reading import Reader
from .table_files import TABLES, ending, is_utf8, read_table, read_text


def read_texts(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[str]:
    """The texts of a .txt file, one a line, or of a column of a table; a blank one ends a document."""
    if ending(path) == ".txt":
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if is_utf8(line):
                yield line.strip()
            else:
                bad.add(number, "wanted UTF-8 text, got other bytes.")
        return
    table = read_table(path, options, bad)
    key = column(table, "text_column", options.text_column, TEXT)
    for number, row in table.rows:
        with bad.row(number):
            yield text_of(row, key, "text")


PLAIN_TEXTS = Reader((".txt", *TABLES), ("text_column", "header"), read_texts)

"""How data files are read, as options that `mobilebert train` and `mobilebert predict` share."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from mobilebert_core.configuration.fields import PROBLEM_TYPES
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.datasets.sources import PACKED, EmptyError, Source, is_utf8
from mobilebert_core.errors import DataError

# `ReadOptions` as arguments of a command; a task has those that its files have.
_READ: dict[str, dict[str, Any]] = {
    "text_column": {"metavar": "NAME", "help": "of the text; a number from 1 without header"},
    "header": {"flag": "--no-header", "action": "store_false", "default": True, "help": "the first row is data"},
    "label_column": {"metavar": "NAME", "help": "of the label"},
    "label_columns": {
        "type": lambda text: tuple(name.strip() for name in text.split(",")),
        "metavar": "A,B,C",
        "help": "a column for each of several labels, with 0 and 1 or a probability",
    },
    "word_column": {"metavar": "N", "help": "of the words in files with one on each line, a number from 1"},
    "tag_column": {"metavar": "N", "help": "of their tags, a number from 1 (default: the last)"},
    "pair_column": {"metavar": "NAME", "help": "of the second text, for pairs"},
    "label_separator": {"metavar": "TEXT", "help": "between the labels of a row that has several"},
    "problem_type": {"choices": PROBLEM_TYPES, "help": "default: what the labels look like"},
    "label_names": {
        "type": Path,
        "metavar": "FILE",
        "help": "the labels, one a line, by whose numbers rows may name them",
    },
}


def kinds_of_files(endings: Iterable[str]) -> str:
    """The files of a kind that an option takes, as its help lists them."""
    return f"{', '.join(ending.removeprefix('.') for ending in endings)}, also {' or '.join(PACKED)}"


def _flag(name: str) -> str:
    flag: str = _READ[name].get("flag", "--" + name.replace("_", "-"))
    return flag


def add_read_options(parser: Any, names: Collection[str]) -> None:
    """Adds those of the options whose names these are."""
    for name, settings in _READ.items():
        if name in names:
            parser.add_argument(_flag(name), dest=name, **{n: v for n, v in settings.items() if n != "flag"})


def passed_read_options(options: argparse.Namespace) -> list[str]:
    """The flags of those that were passed."""
    return [
        _flag(name)
        for name, settings in _READ.items()
        if hasattr(options, name) and getattr(options, name) != settings.get("default")
    ]


def add_data_group(parser: argparse.ArgumentParser, names: Collection[str]) -> Any:
    """Adds the options of these names and --skip-bad-rows, and returns their group."""
    group = parser.add_argument_group("data")
    add_read_options(group, names)
    group.add_argument("--skip-bad-rows", action="store_true", help="leave out and count rows that cannot be used")
    return group


def read_options(options: argparse.Namespace, skip_bad_rows: bool) -> ReadOptions:
    """What the arguments say; raises DataError for a file of label names that cannot be used."""
    read = {name: getattr(options, name) for name in _READ if hasattr(options, name)}
    if read.get("label_names") is not None:
        read["label_names"] = _label_names(read["label_names"])
    return ReadOptions(skip_bad_rows=skip_bad_rows, **read)


def _label_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for _, line in Source.of(path).numbered() if line.strip())
    except EmptyError:
        names = ()
    if not all(map(is_utf8, names)):
        raise DataError(f"{path}: wanted UTF-8 text with a label on each line, got other bytes. Save it as UTF-8.")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: wanted different labels, one on each line; {repeated[0]!r} stands there twice.")
    if not names:
        raise DataError(f"{path}: wanted labels, one on each line, got none.")
    return names

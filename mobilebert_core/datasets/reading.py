"""Files to examples: which files a data set has, and what stands in them for each task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..configuration.fields import MULTI_LABEL, PROBLEM_TYPES
from ..errors import DataError
from .columns import LABEL, PAIR, TEXT, cell, column, label_of, labels_of, probabilities_of, text_of
from .examples import BadRow, BadRows, ChoiceExample, Example, Examples, ReadOptions, TextExample
from .squad_file import read_squad
from .table_files import Table, ending, read_table
from .word_files import read_columns, read_lists

TABLES = (".csv", ".tsv", ".jsonl")
WORD_COLUMNS = (".conll", ".tsv", ".txt", ".bio", ".iob", ".iob2")
# What each task reads, and which options change how; `skip_bad_rows` does everywhere.
ENDINGS: dict[str, tuple[str, ...]] = {
    "text-classification": TABLES,
    "token-classification": (*WORD_COLUMNS, ".jsonl"),
    "question-answering": (".json",),
    "multiple-choice": TABLES,
}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "text-classification": tuple(ReadOptions.__dataclass_fields__),
    "token-classification": ("text_column", "label_column", "label_names"),
    "question-answering": (),
    "multiple-choice": ("text_column", "label_column", "label_names", "header"),
}
_SPLITS = {"train": ("train",), "dev": ("dev", "validation", "valid"), "test": ("test",)}


def splits(place: Path) -> dict[str, Path]:
    """The files of a data set by "train", "dev" and "test": a file is "train" alone.

    Raises:
        DataError: when nothing is there, a directory has no train.*, or two files are the same split.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        beside = _names(place.parent) if place.parent.is_dir() else "no such directory"
        raise DataError(f"{place}: wanted a data file or a directory, there is none; beside it: {beside}.")
    endings = {each for of_task in ENDINGS.values() for each in of_task}
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        split = next((name for name, stems in _SPLITS.items() if path.stem in stems), None)
        if split is None or ending(path) not in endings or not path.is_file():
            continue
        if split in found:
            raise DataError(f"{place}: {found[split].name} and {path.name} are both {split} data. Keep one there.")
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"{place}: wanted a file train with one of the endings {' '.join(sorted(endings))}; the directory holds "
            f"{_names(place)}. Rename the file, or give its path."
        )
    return {name: found[name] for name in _SPLITS if name in found}


def _names(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"


def read_examples(task: str, path: Path, options: ReadOptions = ReadOptions()) -> Examples:  # noqa: B008
    """The examples of a file for a task of `TRAINING_TASKS`, in order.

    Raises:
        DataError: for a file that cannot be read, an option that does not apply, a column that is not there, a file
            without a row of use; and for the first bad row, unless the options say `skip_bad_rows`.
    """
    if task not in ENDINGS:
        raise DataError(f"{path}: no data is read for task {task!r}; there are {', '.join(ENDINGS)}.")
    _check_options(task, options)
    if ending(path) not in ENDINGS[task]:
        raise DataError(
            f"{path}: {task} reads {', '.join(ENDINGS[task])}, got {path.suffix or 'no ending'}. Rename or convert it."
        )
    bad = BadRows(path, options.skip_bad_rows)
    items = list(_items(task, path, options, bad))
    if not items:
        got = f"{len(bad.messages)} that are no use. The first: {bad.messages[0]}" if bad.messages else "none."
        raise DataError(f"{path}: wanted rows of data, got {got}")
    return Examples(items, bad.messages, path, options)


def _items(task: str, path: Path, options: ReadOptions, bad: BadRows) -> Iterator[Example]:
    if task == "question-answering":
        return read_squad(path, bad)
    if task == "token-classification":
        return (read_lists if ending(path) == ".jsonl" else read_columns)(path, options, bad)
    return (_texts if task == "text-classification" else _choices)(read_table(path, options, bad), options, bad)


def _check_options(task: str, options: ReadOptions) -> None:
    for name, each in ReadOptions.__dataclass_fields__.items():
        if getattr(options, name) != each.default and name not in (*_OPTIONS[task], "skip_bad_rows"):
            raise DataError(f"{task}: the option {name} does not apply. Leave it out.")
    if options.problem_type not in (None, *PROBLEM_TYPES):
        raise DataError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {options.problem_type!r}.")
    if options.label_separator is not None:
        if not options.label_separator:
            raise DataError("label_separator must be the text between two labels, got an empty one.")
        if options.problem_type not in (None, MULTI_LABEL):
            raise DataError(
                f"label_separator means several labels a row, problem_type is {options.problem_type!r}. Leave one out."
            )


def _texts(table: Table, options: ReadOptions, bad: BadRows) -> Iterator[TextExample]:
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


def _choices(table: Table, options: ReadOptions, bad: BadRows) -> Iterator[ChoiceExample]:
    """Of SWAG's columns the second text begins each choice, as in its published baselines."""
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

"""From a file or directory to examples: which files a data set has, which of them a reader takes, and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration.fields import MULTI_LABEL, PROBLEM_TYPES
from ..errors import DataError
from ..files import names_in
from .examples import BadRows, Examples, ReadOptions
from .sources import Source, ending, stem

_SPLITS = {"train": ("train",), "dev": ("dev", "validation", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class Reader:
    """Reads one kind of data.

    Attributes:
        endings: of the files it takes.
        options: names of the `ReadOptions` that say how; `skip_bad_rows` always does.
        items: the examples of a file, in order; rows of no use go to the `BadRows`.
    """

    endings: tuple[str, ...]
    options: tuple[str, ...]
    items: Callable[[Source, ReadOptions, BadRows], Iterator[Any]]

    def read(self, purpose: str, path: Path, options: ReadOptions) -> Examples:
        """The examples of a file, in order; `purpose` is what messages call their use.

        Raises:
            DataError: for a file that cannot be read, an option that does not apply, a column that is not there, a
                file without a row of use; and for the first bad row, unless the options say `skip_bad_rows`.
            BackendMissingError: for Parquet and Arrow without pyarrow.
        """
        self.check(purpose, path, options)
        bad = BadRows(path, options.skip_bad_rows)
        items = list(self.items(Source.of(path), options, bad))
        if not items:
            got = f"{len(bad.messages)} that are no use. The first: {bad.messages[0]}" if bad.messages else "none."
            raise DataError(f"{path}: wanted rows of data, got {got}")
        return Examples(items, bad.messages, path, options)

    def check(self, purpose: str, path: Path, options: ReadOptions) -> None:
        """Raises DataError for a file that it does not take, or an option that does not apply."""
        for name, each in ReadOptions.__dataclass_fields__.items():
            if getattr(options, name) != each.default and name not in (*self.options, "skip_bad_rows"):
                raise DataError(f"{purpose}: the option {name} does not apply. Leave it out.")
        _check_labels_options(options)
        if path.is_dir():
            raise DataError(
                f"{path}: wanted a file ending in {', '.join(self.endings)}, got a directory, which holds "
                f"{names_in(path)}. Give the path of one file."
            )
        if not path.exists():
            raise _not_there(path, f"a file ending in {', '.join(self.endings)}")
        if ending(path) not in self.endings:
            raise DataError(
                f"{path}: {purpose} reads {', '.join(self.endings)}, got {path.suffix or 'no ending'}. "
                "Rename or convert it."
            )


def _check_labels_options(options: ReadOptions) -> None:
    if options.label_columns is not None:
        names = options.label_columns
        for other in ("label_column", "label_separator", "label_names"):
            if getattr(options, other) is not None:
                raise DataError(f"label_columns names a column for each label, {other} was passed too. Leave one out.")
        if not names or "" in names or len(set(names)) < len(names):
            raise DataError(f"label_columns must name different columns, got {', '.join(map(repr, names)) or 'none'}.")
        if options.problem_type not in (None, MULTI_LABEL):
            raise DataError(
                f"label_columns means several labels a row, problem_type is {options.problem_type!r}. Leave one out."
            )
    if options.problem_type not in (None, *PROBLEM_TYPES):
        raise DataError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {options.problem_type!r}.")
    if options.label_separator is not None:
        if not options.label_separator:
            raise DataError("label_separator must be the text between two labels, got an empty one.")
        if options.problem_type not in (None, MULTI_LABEL):
            raise DataError(
                f"label_separator means several labels a row, problem_type is {options.problem_type!r}. Leave one out."
            )


def splits(place: Path, endings: Iterable[str]) -> dict[str, Path]:
    """The files of a data set by "train", "dev" and "test", with one of these endings; a file is "train" alone.

    Raises:
        DataError: when nothing is there, a directory has no train.*, or two files are the same split.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        raise _not_there(place, "a data file or a directory")
    endings = set(endings)
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        split = next((name for name, stems in _SPLITS.items() if stem(path) in stems), None)
        if split is None or ending(path) not in endings or not path.is_file():
            continue
        if split in found:
            raise DataError(f"{place}: {found[split].name} and {path.name} are both {split} data. Keep one there.")
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"{place}: wanted a file train with one of the endings {' '.join(sorted(endings))}; the directory holds "
            f"{names_in(place)}. Rename the file, or give its path."
        )
    return {name: found[name] for name in _SPLITS if name in found}


def _not_there(place: Path, wanted: str) -> DataError:
    beside = names_in(place.parent) if place.parent.is_dir() else "no such directory"
    return DataError(f"{place}: wanted {wanted}, there is none; beside it: {beside}.")

"""The labels of a data set: their names, their order, and the number that a row means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..configuration.config import MobileBertConfig
from ..configuration.fields import REGRESSION, SINGLE_LABEL
from ..errors import DataError
from ..spelling import did_you_mean
from .examples import BadRow, Examples, ReadOptions

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_BETWEEN = ("|", ";", ",")  # what stands between several labels of a cell
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


def number(text: str) -> float | None:
    """The number that a text is, NaN and infinities included; None for other text."""
    return float(text) if NUMBER.fullmatch(text) else None


def looks_like_regression(labels: Iterable[str], path: Path) -> bool:
    """True when all labels are numbers and at least one is finite and not whole.

    Raises:
        DataError: when only some are numbers: these could be classes, or a bad row among numbers.
    """
    numbers = {label: number(label) for label in labels}
    broken = [label for label, n in numbers.items() if n is not None and math.isfinite(n) and not n.is_integer()]
    if not broken:
        return False
    for label, n in numbers.items():
        if n is None:
            raise DataError(
                f"{path}: labels {broken[0]!r} and {label!r} are a number and a name: pass problem_type "
                f"{REGRESSION!r}, with skip_bad_rows=True to leave rows with names out, or {SINGLE_LABEL!r}."
            )
    return True


def check_single(labels: Iterable[str], path: Path) -> None:
    """Raises DataError for labels that are no classes: several in one cell, or numbers with a comma in them."""
    names = set(labels)
    keep = f"where each of them is a class, pass problem_type {SINGLE_LABEL!r}"
    for sign in _BETWEEN:
        joined = sorted(name for name in names if sign in name)
        for name in joined:
            if {part.strip() for part in name.split(sign)} <= names.difference(joined):
                raise DataError(
                    f"{path}: label {name!r} is several others with {sign!r} between them. Pass label_separator "
                    f"{sign!r}; {keep}."
                )
    decimals = sorted(name for name in names if _DECIMAL_COMMA.fullmatch(name))
    if decimals and all(_DECIMAL_COMMA.fullmatch(name) or number(name) is not None for name in names):
        point = decimals[0].replace(",", ".")
        raise DataError(
            f"{path}: label {decimals[0]!r} is a number with a comma, or two labels. Write {point} for the number, or "
            f"pass label_separator ','; {keep}."
        )


def label_fields(found: Iterable[str], examples: Examples, options: ReadOptions, least: int = 2) -> dict[str, Any]:
    """`num_labels`, `id2label` and `label2id` of a configuration.

    The names are `label_names`, `label_columns`, or else those found, sorted: numbers by value, all else by code point.

    Raises:
        DataError: for names that stand twice, or fewer than `least` labels.
    """
    names = list(options.label_names or options.label_columns or ())
    if not names:
        names = sorted(set(found))
        values = {name: value for name in names if (value := number(name)) is not None and math.isfinite(value)}
        if len(values) == len(names):
            names.sort(key=values.__getitem__)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"label_names: {twice!r} stands twice. Name each label once.")
    if len(names) < least:
        raise DataError(
            f"{examples.path}: wanted at least {least} different labels to learn from, got "
            f"{', '.join(map(repr, names)) or 'none'}. Is it the right label_column? Else give label_names."
        )
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


class LabelIds:
    """The number of a label by its name in the configuration; with `label_names` also by its place among them.

    Raises:
        DataError: when `label_names` has a name that the configuration has not.
    """

    def __init__(self, config: MobileBertConfig, examples: Examples) -> None:
        self.ids = {name: int(i) for name, i in (config.label2id or {}).items()}
        self.names = examples.options.label_names
        for name in self.names or ():
            if name not in self.ids:
                raise DataError(
                    f"label_names: {name!r} is no label of the configuration, which has {_some(self.ids)}. "
                    "Give the names that it was made with."
                )

    def __call__(self, label: str) -> int:
        """The number of a label; raises BadRow for one that is unknown or out of range."""
        if label in self.ids:
            return self.ids[label]
        if self.names is not None:
            place = number(label)
            if place is not None and place.is_integer():
                if 0 <= place < len(self.names):
                    return self.ids[self.names[int(place)]]
                raise BadRow(f"label {label} is out of range: label_names has {len(self.names)}, 0 to "
                             f"{len(self.names) - 1}.")  # fmt: skip
        hint = did_you_mean(label, self.ids)
        raise BadRow(
            f"label {label!r} is not among those of the training data or label_names: {_some(self.ids)}.{hint}"
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(map(repr, listed[:8])) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")

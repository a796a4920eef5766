"""What a cell says about labels: names, numbers, lists, vectors, probabilities; and what says nothing."""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from .columns import cell
from .examples import BadRow, brief

# What pandas, numpy and JSON write where a label is missing. "none" and "NA" may be names.
MISSING = frozenset({"NaN", "nan", "NAN", "None", "null", "NULL", "<NA>", "#N/A", "NaT"})
IGNORED = "-100"  # of PyTorch: what is not to be learned from
# Characters without a shape, as editors and exports leave them at the ends of cells.
_UNSEEN = "\0\u200b\u200e\u200f\u2060\ufeff"
# As pandas writes them into a cell.
_ARRAY = re.compile(r"(?:tensor|array)\((\[.*\])(?:, *(?:dtype|device|size|shape)=[^\[]*)?\)", re.DOTALL)
_BOOLEANS = frozenset({"true", "false"})
_WHOLE = re.compile(r"([+-]?)(0|[1-9][0-9]*)(\.0*)?")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]\.[0-9]+[eE][+-][0-9]{2,3}")  # as numpy.savetxt writes all numbers


def label_of(value: Any, name: str = "label", known: Sequence[str] = (), ignored: str | None = IGNORED) -> str:
    """A label as text: 1, 1.0 and "1" are one label, and true and "True" are; one that is `known` stays as it is.

    Letters with accents are in Unicode's form NFC: what looks the same is one label.

    Raises:
        BadRow: for none: empty, null, "None", "NaN" and the like, infinity as a number, or what is `ignored`.
    """
    if isinstance(value, str):
        text = _bare(value)
    elif isinstance(value, bool):
        text = json.dumps(value)
    elif isinstance(value, int):
        text = str(value)
    elif isinstance(value, float):
        if math.isinf(value):
            raise BadRow(f"{name} must be a name or a finite number, got {json.dumps(value)}.")
        text = str(int(value)) if value.is_integer() else json.dumps(value)
    else:
        raise BadRow(f"{name} must be a name or a number, got {type(value).__name__} {brief(value)}.")
    if text in known:
        return text
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text:
        raise BadRow(f"{name} is empty.")
    if _SCIENTIFIC.fullmatch(text) and float(text).is_integer():
        text = str(int(float(text)))
    elif whole := _WHOLE.fullmatch(text):
        sign = "-" if whole[1] == "-" and whole[2] != "0" else ""
        text = sign + whole[2]
    elif text.lower() in _BOOLEANS:
        text = text.lower()
    if text in MISSING or text == ignored:
        raise BadRow(f"{name} is missing, got {text!r}.")
    return text


def _bare(text: str) -> str:
    """A text without blanks and unseen characters at its ends."""
    text = text.strip()
    while text and (text[0] in _UNSEEN or text[-1] in _UNSEEN):
        text = text.strip(_UNSEEN).strip()
    return text


def unwritten(value: Any) -> Any:
    """The list or object that a text is, as JSON, Python, numpy and PyTorch write them; any other value as it is.

    A tuple or a set of Python is a list, a set in sorted order. What stands in round brackets may be a name.
    """
    if not isinstance(value, str) or not (text := value.strip()).startswith(("[", "{", "(", "tensor([", "array([")):
        return value
    if array := _ARRAY.fullmatch(text):
        text = array[1]
    found: Any = None
    for read in (json.loads, ast.literal_eval, _numbers):
        try:
            found = read(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if isinstance(found, list | dict):
        return found
    if isinstance(found, tuple | set):
        return sorted(found, key=str) if isinstance(found, set) else list(found)
    if "," in text and not text.startswith("("):
        raise BadRow(f"wanted a list as JSON or Python write it, got {brief(text)}.")
    return value


def _numbers(text: str) -> list[float]:
    if not text.endswith("]"):
        raise ValueError
    return [float(each) for each in text[1:-1].split()]  # numpy: [1. 0. 1.]


def labels_of(
    value: Any, separator: str | None = None, known: Sequence[str] = (), ignored: str | None = IGNORED
) -> tuple[str, ...]:
    """Several labels, or none, from a list, the keys of an object, or text with a separator; raises BadRow."""
    if isinstance(value, str) and separator is not None:
        value = value.split(separator) if value.strip() else []
    if not isinstance(value, list | dict):
        value = [value]
    elif any(isinstance(each, float) and math.isfinite(each) and not each.is_integer() for each in value):
        raise BadRow(f"wanted names or whole numbers of labels, or a number from 0 to 1 for each, got {brief(value)}.")
    labels = tuple(label_of(each, known=known, ignored=ignored) for each in value)
    if len(set(labels)) < len(labels) and set(labels) == {"0", "1"}:
        raise BadRow(f"wanted different labels, or a vector as long as in the other rows, got {brief(list(value))}.")
    return labels


def probabilities_of(value: dict[str, Any]) -> tuple[float, ...]:
    """The probabilities of an object of labels; raises BadRow."""
    for name, found in value.items():
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            raise BadRow(f"the probability of label {name!r} must be a number from 0 to 1, got {brief(found)}.")
    return tuple(map(float, value.values()))


# ------------------------------------------------------------------------- a number for each label


def numbers_of(value: Any, separator: str | None = None) -> list[Any] | None:
    """The numbers of a list, or of text with a separator, None among them where one is missing; None for others."""
    if isinstance(value, str) and separator is not None:
        try:
            return [int(each) if each.strip().isdecimal() else float(each) for each in value.split(separator)]
        except ValueError:
            return None
    if not isinstance(value, list) or not all(each is None or isinstance(each, int | float) for each in value):
        return None
    return value


def vector_of(numbers: list[Any] | None, length: int) -> tuple[float, ...]:
    """A vector of a length; raises BadRow."""
    if numbers is None or len(numbers) != length:
        got = "something else" if numbers is None else f"{len(numbers)}"
        raise BadRow(f"wanted {length} numbers as in the other rows, one for each label, got {got}.")
    for number in numbers:
        if number is None or not 0 <= number <= 1:
            raise BadRow(f"wanted numbers from 0 to 1, one for each label, got {brief(numbers)}.")
    return tuple(map(float, numbers))


def columns_of(row: Any, keys: Sequence[Any], names: Sequence[str]) -> tuple[float, ...]:
    """The probability of each label, from a column for each; raises BadRow."""
    return tuple(_probability(cell(row, key), name) for key, name in zip(keys, names, strict=True))


def _probability(value: Any, name: str) -> float:
    if isinstance(value, str):
        text = value.strip().lower()
        try:
            value = text == "true" if text in _BOOLEANS else float(text)
        except ValueError:
            value = value.strip()
    if isinstance(value, bool | int | float) and 0 <= value <= 1:
        return float(value)
    missing = " is missing: it" if value is None or value == "" or value != value else ""
    raise BadRow(f"{name}{missing} must be a number from 0 to 1, got {brief(value)}.")

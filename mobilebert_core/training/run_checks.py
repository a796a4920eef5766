"""Checks of what a training left on disk, before anything goes on with it."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CheckpointError
from ..files import read_json, sha256


def damaged(path: Path, wanted: str, got: str) -> NoReturn:
    """Raises CheckpointError for a file of a training that is not as it was written."""
    raise CheckpointError(
        f"{path}: wanted {wanted}, got {got}: the file was changed or is damaged. Put the right one back, or train "
        "anew into another directory."
    )


def kind(value: object) -> str:
    """What JSON calls the type of a value."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


def is_scores(value: object) -> bool:
    """Whether a value is an object of numbers by name."""
    return isinstance(value, dict) and all(type(each) in (int, float) for each in value.values())


def is_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def check_settings(path: Path, found: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless training.json holds settings, and of a finished training its results."""
    if not isinstance(found.get("settings"), dict):
        damaged(path, "the settings of a training, an object", kind(found.get("settings")))
    finished = found.get("finished", False)
    if not isinstance(finished, bool):
        damaged(path, '"finished" to be true or false', kind(finished))
    if not finished:
        return
    for name in ("notes", "skipped"):
        if not is_texts(found.get(name)):
            damaged(path, f'"{name}" to be a list of texts', kind(found.get(name)))
    for name in ("dev", "test"):
        if not is_scores(found.get(name, {})):
            damaged(path, f'"{name}" to be an object of numbers', kind(found.get(name)))


def check_progress(path: Path, progress: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless the progress has a step, the scores of the best evaluation, and names."""
    step, best = progress.get("step"), progress.get("best")
    if type(step) is not int or step < 0:
        damaged(path, '"step" to be a number of steps', kind(step) if type(step) is not int else str(step))
    if not is_scores(best) or (best and not {"step", "epoch"} <= {*best}):
        damaged(path, '"best" to be the scores of an evaluation', kind(best))
    due = progress.get("evaluation_due", False)
    if not isinstance(due, bool):
        damaged(path, '"evaluation_due" to be true or false', kind(due))
    names = progress.get("newly_initialized", [])
    if not is_texts(names):
        damaged(path, '"newly_initialized" to be a list of names', kind(names))


def digests_of(directory: Path) -> dict[str, str]:
    """The digest of each file of a saved state, by name."""
    return {path.name: sha256(path) for path in sorted(directory.iterdir())}


def check_files(directory: Path, digests: object, but: str) -> None:
    """Raises CheckpointError unless the files of a saved state, `but` one, are those that were written."""
    found = {path.name: path for path in sorted(directory.iterdir()) if path.name != but}
    if not isinstance(digests, dict) or not digests:
        damaged(directory / but, '"sha256" to be an object of digests', kind(digests))
    for name in sorted({*found, *digests}):
        whole = name in found and found[name].is_file() and digests.get(name) == sha256(found[name])
        if not whole:
            said = "is not what was saved" if name in found else "is gone"
            raise CheckpointError(
                f"{directory}: the saved state cannot be read ({name} {said}). Train anew into another --output."
            )


def digest_of(values: Mapping[str, Any]) -> str:
    """The digest of an object of JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_best(output: Path, record: Path) -> None:
    """Raises CheckpointError unless the best model so far is the one that was kept, as its record says."""
    if not record.exists():
        return  # of an earlier version
    for name, digest in read_json(record).items():
        path = output / name
        if not path.is_file() or sha256(path) != digest:
            said = "is not what was saved" if path.exists() else "is gone"
            raise CheckpointError(
                f"{output}: the best model so far cannot be read ({name} {said}). Put the right one back, or train "
                "anew into another --output."
            )


def read_curves(path: Path) -> list[dict[str, Any]]:
    """The lines of a curve by column name; a line cut short by a kill is left out.

    Raises:
        CheckpointError: for a file that is no curve.
    """
    if not path.exists():
        return []
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        columns = list(reader.fieldnames or ())
        rows = [row for row in reader if None not in row and None not in row.values()]
    except (csv.Error, UnicodeDecodeError) as e:
        damaged(path, "a curve, CSV with a column step", str(e))
    if columns and "step" not in columns:
        damaged(path, "a curve, CSV with a column step", f"the columns {', '.join(columns)[:80]}")
    return [row for row in rows if row["step"].isascii() and row["step"].isdigit()]


def check_curve(
    path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...], steps: int, may_be_empty: tuple[str, ...] = ()
) -> None:
    """Raises CheckpointError unless the rows are the steps from 1 to `steps`, each once, with numbers."""
    for number in range(1, steps + 1):
        row = rows[number - 1] if number <= len(rows) else {}
        if row.get("step") != str(number):
            damaged(path, f"a line for each step from 1 to {steps:,}", f"none for step {number:,} in its place")
        numbers = [value for name, value in row.items() if value or name not in may_be_empty]
        if {*row} != {*columns, *may_be_empty} or not all(map(_is_number, numbers)):
            damaged(path, f"the columns {', '.join(columns)} with numbers", f"{', '.join(row.values())[:80]}")


def check_scores(path: Path, rows: list[dict[str, Any]]) -> None:
    """Raises CheckpointError unless every row of evaluations holds numbers."""
    for row in rows:
        if "epoch" not in row or not all(map(_is_number, row.values())):
            damaged(path, "steps, epochs and scores, all numbers", f"{', '.join(row.values())[:80]}")


def written_until(step: int, curves: Path, scores: Path) -> dict[str, Any]:
    """What tells the curves of a training from others when its state is saved; of evaluations, up to a step."""
    size = curves.stat().st_size if curves.is_file() else 0
    count = sum(int(row["step"]) <= step for row in read_curves(scores))
    return {
        "bytes": size,
        "curves": _digest_of_bytes(curves, size),
        "rows": count,
        "scores": _digest_of_rows(scores, count),
    }


def check_written(before: Mapping[str, Any], curves: Path, scores: Path) -> None:
    """Raises CheckpointError unless the curves begin with what they held when the state was saved."""
    if not before:
        return  # of an earlier version
    for path, same in (
        (curves, _digest_of_bytes(curves, before["bytes"]) == before["curves"]),
        (scores, _digest_of_rows(scores, before["rows"]) == before["scores"]),
    ):
        if not same:
            got = "others" if path.is_file() else "none"
            damaged(path, "the lines that were written until the state was saved", got)


def _digest_of_bytes(path: Path, size: int) -> str:
    """Of the beginning of a file: a curve only grows."""
    return hashlib.sha256(path.read_bytes()[:size] if path.is_file() else b"").hexdigest()


def _digest_of_rows(path: Path, count: int) -> str:
    """Of the first evaluations, without empty cells: later ones may have more columns."""
    rows = read_curves(path)[:count]
    return digest_of({"rows": [{name: value for name, value in row.items() if value} for row in rows]})


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

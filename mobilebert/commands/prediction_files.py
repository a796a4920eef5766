"""Inputs of `mobilebert predict` from files and streams, line by line, and its answers as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mobilebert_core.errors import InputError
from mobilebert_core.file_lock import lock, refuse
from mobilebert_core.tasks.task_text import WORDS, Field

from .answer_record import AnswerRecord

FORMATS = ("jsonl", "csv", "txt")
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Line:
    """One input: where it stands, its fields, what else is to be kept with its answer, or why it is broken."""

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    broken: str | None = None


@contextmanager
def opened(path: str) -> Iterator[TextIO]:
    """A file, or standard input for "-", as UTF-8 text; bytes that are none become lone surrogates."""
    if path != STANDARD_INPUT:
        if not Path(path).is_file():
            raise InputError(f"{path}: wanted a file of inputs, there is none.")
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield stream
    elif hasattr(sys.stdin, "buffer"):
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="")
    else:
        yield sys.stdin


def read_lines(stream: TextIO, form: str, fields: Sequence[Field], passed: Iterable[str]) -> Iterator[Line]:
    """The inputs of a stream in one of the formats; empty lines are left out, broken ones say why.

    A line of text is the field that is not `passed` otherwise. JSON lines are objects with the fields, or such a
    text alone; of other keys `id` is kept. A CSV file names its columns in its first row; a column for several
    texts holds a JSON list, or texts with | between.

    Raises:
        InputError: when the whole file cannot be used: a CSV file without the needed columns.
    """
    known = {f.name: f for f in fields}
    missing = [f.name for f in fields if not f.optional and f.name not in set(passed)]
    alone = missing[0] if missing else fields[0].name
    if form == "csv":
        yield from _csv_lines(stream, known, missing)
        return
    for number, text in enumerate(stream, 1):
        text = text.rstrip("\r\n")
        if not text.strip():
            continue
        if (problem := _encoding_problem(text)) is not None:
            yield Line(number, broken=problem)
        elif form == "txt":
            yield Line(number, {alone: text})
        else:
            yield _json_line(number, text, known, alone)


def _json_line(number: int, text: str, known: dict[str, Field], alone: str) -> Line:
    try:
        value = json.loads(text)
    except ValueError as e:
        return Line(number, broken=f"wanted JSON, {e}")
    except RecursionError:
        return Line(number, broken="wanted a JSON object, it is nested too deeply")
    if isinstance(value, str):
        return Line(number, {alone: value})
    words = known[alone].or_words
    if isinstance(value, list) and words:
        return Line(number, {alone: value})
    if not isinstance(value, dict):
        return Line(number, broken=f"wanted a JSON object or string, got {type(value).__name__}")
    kept = {"id": value["id"]} if "id" in value and "id" not in known else {}
    names = {*known, *(WORDS if words else ())}
    return Line(number, {name: item for name, item in value.items() if name in names}, kept)


def _csv_lines(stream: TextIO, known: dict[str, Field], missing: list[str]) -> Iterator[Line]:
    reader = csv.DictReader(stream)
    try:
        columns = list(reader.fieldnames or ())
    except csv.Error as e:
        raise InputError(f"wanted CSV, {e}.") from None
    if absent := [name for name in missing if name not in columns]:
        raise InputError(
            f"CSV: wanted a first row with the columns {', '.join(missing)}, got {', '.join(columns) or 'nothing'}; "
            f"{', '.join(absent)} missing."
        )
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            yield Line(number, broken=f"wanted CSV, {e}")
            continue
        cells = {name: cell for name, cell in row.items() if name in known and cell not in (None, "")}
        if row.get(None):
            yield Line(number, broken=f"wanted {len(columns)} cells, got more; quote texts that hold commas")
        elif (problem := _encoding_problem("".join(cells.values()))) is not None:
            yield Line(number, broken=problem)
        else:
            values = {name: _several(cell) if known[name].several else cell for name, cell in cells.items()}
            yield Line(number, values, {"id": row["id"]} if "id" in row and "id" not in known else {})


def _several(cell: str) -> Any:
    try:
        found = json.loads(cell)
    except ValueError:
        found = None
    return found if isinstance(found, list) else [text.strip() for text in cell.split("|")]


def _encoding_problem(text: str) -> str | None:
    place = next((i for i, char in enumerate(text) if "\udc80" <= char <= "\udcff"), None)
    return None if place is None else f"wanted UTF-8, byte {ord(text[place]) - 0xDC00:#04x} after {place} characters"


class AnswerFile:
    """Where answers go, each as one line of JSON that is written out at once.

    With `resume` a file's whole lines stay, and `done` is the number of the last input that they answer.

    Args:
        record: of what the answers in a file are made from; None for what is no file, such as a device.

    Raises:
        ConfigError: when another process writes to the file.
        InputError: when there is nothing to go on with, as `AnswerRecord.load`.
    """

    def __init__(self, path: Path | None, record: AnswerRecord | None = None, resume: bool = False) -> None:
        self.done = 0
        self.written = 0
        self.record = record
        self._stream: TextIO
        if path is None:
            self._stream = sys.stdout
            if isinstance(self._stream, io.TextIOWrapper):
                self._stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # backslashreplace: a lone surrogate, which UTF-8 has not, becomes the escape that JSON has for it
        self._stream = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="\n")  # noqa: SIM115
        if record is not None:
            try:
                self._begin(path, record, resume)
            except BaseException:
                self._stream.close()
                raise

    def _begin(self, path: Path, record: AnswerRecord, resume: bool) -> None:
        if not lock(self._stream.fileno()):
            raise refuse(path)
        self._kept = len(self._whole_lines(path)) if resume else 0
        if self._kept:
            record.load()
        else:
            self._stream.truncate(0)
            record.begin()

    def _whole_lines(self, path: Path) -> bytes:
        content = path.read_bytes()
        kept = content[: content.rfind(b"\n") + 1]
        try:
            self.done = int(json.loads(kept.splitlines()[-1])["line"]) if kept else 0
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: wanted answers of this command to go on with, the last line is none.") from None
        return kept

    def unanswered(self, lines: Iterator[Line]) -> Iterator[Line]:
        """The lines that have no answer yet; raises InputError where the file answers another input."""
        return lines if self.record is None else self.record.unchanged(lines, self.done)

    def write(self, line: Line, answer: Any) -> None:
        if self.record is not None and not self.written:
            self._stream.truncate(self._kept)  # not before the input is known to be the same
        record = {"line": line.number, **line.kept, "result": answer}
        self._stream.write(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")
        self._stream.flush()
        self.written += 1
        if self.record is not None:
            self.record.wrote(line)

    def close(self) -> None:
        if self.record is not None:
            self.record.save()
        if self._stream is not sys.stdout:
            self._stream.close()  # last: it ends the lock


def _plain(value: Any) -> Any:
    return value.tolist()  # a numpy array or number

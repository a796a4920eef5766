"""Where the inputs of `mobilebert predict` come from, and its answers go to as JSON lines."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO

from mobilebert_core.datasets.examples import BadRows
from mobilebert_core.datasets.inputs import InputFiles, InputRow
from mobilebert_core.datasets.sources import Source, ending
from mobilebert_core.errors import InputError
from mobilebert_core.file_lock import lock, refuse
from mobilebert_core.files import same_file

from .answer_record import AnswerRecord

STANDARD_INPUT = "-"
_READ_AT_ONCE = 1 << 16  # bytes, from the end of answers that are gone on with
_OPEN_FILES_MOVE = os.name != "nt"  # Windows renames and removes no file that is open
PARTIAL = ".partial"  # after the name of an output that is not finished, while another is there


def source_of(path: str, form: str | None, files: InputFiles, missing: int) -> Source:
    """A file, or standard input for "-", in a form, or that which its name says.

    Raises:
        InputError: for a file that is not there or of no known form.
    """
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise InputError("predict: wanted texts from standard input, got a closed one.")
        form = form or ("txt" if missing <= 1 else "jsonl")
        binary = getattr(sys.stdin, "buffer", None)
        if binary is None:  # a stream of text in its place
            binary = io.BytesIO(sys.stdin.read().encode("utf-8", "surrogateescape"))
        return Source(Path("standard input"), f".{form}", binary)
    place = Path(path)
    if not place.exists():
        raise InputError(f"{path}: wanted a file of inputs, there is none.")
    found = f".{form}" if form else ending(place)
    if found not in files.endings:
        known = ", ".join(each.removeprefix(".") for each in files.endings)
        raise InputError(f"{path}: wanted a file ending in {known}, or --format to say which it is.")
    return Source(place, found)


@dataclass
class ReportedRows(BadRows):
    """Reports bad rows at once, in place of raising, and counts them; rows up to `done` were reported before."""

    report: Callable[[str], None] = print
    done: int = 0
    count: int = 0

    def add(self, line: int | str, message: str, advice: str = "") -> None:
        if isinstance(line, int) and line <= self.done:
            return
        self.count += 1
        where = f"line {line}" if isinstance(line, int) else line
        self.report(f"mobilebert: {self.path}, {where}: {message}")

    def lost(self, first: int, last: int, message: str, advice: str) -> None:
        self.count += last - first
        self.add(first, f"{message} Of lines {first} to {last} nothing is read. {advice}.")


def check_output(output: Path | None, inputs: list[Path | int]) -> None:
    """Raises InputError for an output that is one of the inputs, by whatever name; numbers are open files."""
    try:
        place: Path | int = sys.stdout.fileno() if output is None else output
    except (OSError, ValueError, AttributeError):
        return  # no file stands behind standard output
    shown = "standard output" if output is None else f"--output {output}"
    if output is not None and output.is_dir():
        raise InputError(f"predict: {shown} is a directory, wanted a file.")
    for each in inputs:
        if same_file(place, each):
            raise InputError(f"predict: {shown} is what is read as well. Choose another file; nothing was written.")


class AnswerFile:
    """Where answers go, each as one line of JSON that is written out at once; entered, it is open.

    A file that is there stays until the new one is whole: that has `.partial` after its name before. With `resume`
    whole lines stay, those of an unfinished file first, and `done` is the number of the last input that they answer.

    Args:
        made_from: as of `AnswerRecord`, which is kept beside a file.

    Raises:
        ConfigError: when entered while another process writes to the file.
        InputError: when there is nothing to go on with, as `AnswerRecord.load`.
    """

    def __init__(self, path: Path | None, made_from: Mapping[str, Any], resume: bool = False) -> None:
        self.done = 0
        self.written = 0
        self.finished = False  # set when all inputs are answered
        self.record: AnswerRecord | None = None
        self._stream: TextIO = sys.stdout
        self._kept = 0  # bytes of whole lines
        self._target: Path | None = None
        self._place: Path | None = None
        if path is None:
            return
        target = self._target = self._place = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            return  # a device
        partial = target.with_name(target.name + PARTIAL)
        place = partial if (partial.exists() and resume) or (target.exists() and not resume) else target
        self._place = place
        self.record = AnswerRecord(place, made_from)
        if resume and place.exists():
            self._kept = self._whole_lines(place)
            if self._kept:
                self.record.follow(AnswerRecord(partial, made_from).path, self.done)
                self.record.load()

    def _whole_lines(self, path: Path) -> int:
        """How many bytes whole lines have, of which the last says the line of its input."""
        with path.open("rb") as file:
            start, read = file.seek(0, os.SEEK_END), b""
            while start and read.count(b"\n") < 2:  # the end of the last line, and that of the one before
                step = min(start, _READ_AT_ONCE)
                start -= step
                file.seek(start)
                read = file.read(step) + read
        lines = read[: read.rfind(b"\n") + 1]
        kept = start + len(lines) if lines else 0
        try:
            done = json.loads(lines[:-1].rpartition(b"\n")[2])["line"] if kept else 0
        except (ValueError, KeyError, TypeError, RecursionError):
            done = None
        if type(done) is not int or done < min(kept, 1):
            raise InputError(
                f"{path}: wanted answers of this command to go on with, the last line is none. Start anew without "
                "--resume, or with another --output."
            )
        self.done = done
        return kept

    def interrupted(self) -> str:
        """What an interruption leaves."""
        kept = self.record is not None
        return f"{self.written} answers are written" + ", --resume goes on" * kept

    def unanswered(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        """The rows that have no answer yet; raises InputError where the file answers another input."""
        return rows if self.record is None else self.record.unchanged(rows, self.done)

    def __enter__(self) -> Self:
        # backslashreplace: a lone surrogate, which UTF-8 has not, becomes the escape that JSON has for it
        if self._place is None:
            if isinstance(self._stream, io.TextIOWrapper):
                self._stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            return self
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(self._place, "a", encoding="utf-8", errors="backslashreplace", newline="\n")
        if self.record is not None:
            self._lock(self._place, self._stream)
            if not self._kept:
                self._stream.truncate(0)
                self.record.begin()
        return self

    def _lock(self, place: Path, stream: TextIO) -> None:
        """Keeps other processes from the file, and from the one whose place it is going to take."""
        self._held = [stream]
        if self._target is not None and self._target != place and self._target.is_file():
            self._held.append(open(self._target, encoding="utf-8"))  # noqa: SIM115
        for each in self._held:
            if not lock(each.fileno()):
                self._let_go()
                raise refuse(Path(each.name))

    def _let_go(self) -> None:
        for each in self._held:
            each.close()

    def write(self, row: InputRow, answer: Any) -> None:
        if self.record is not None and not self.written:
            self._stream.truncate(self._kept)  # not before the input is known to be the same
        line = {"line": row.line, **row.kept, "result": answer}
        self._stream.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")
        self._stream.flush()
        self.written += 1
        if self.record is not None:
            self.record.wrote(row)

    def __exit__(self, *error: object) -> None:
        if self._place is None or self._target is None:
            return
        if self.record is not None:
            if not _OPEN_FILES_MOVE:
                self._let_go()
            self._end(self.record, self._place, self._target)
            self._let_go()  # last: it ends the locks
        else:
            self._stream.close()

    def _end(self, record: AnswerRecord, place: Path, target: Path) -> None:
        record.save()
        if self.finished and place != target:
            os.replace(place, target)
            record.move(target)
        elif not self.finished and not self.written and not self._kept:  # nothing to go on from
            place.unlink(missing_ok=True)
            record.path.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """A value of JSON for a numpy array or number, or for what Parquet has as an id: bytes of a UUID, or a time."""
    if isinstance(value, bytes):
        return value.hex()
    return value.tolist() if hasattr(value, "tolist") else str(value)

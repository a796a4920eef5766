"""What the answers in a file were made from, recorded beside it, so that only the same goes on with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.digests import changed_files
from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.errors import CheckpointError, InputError
from mobilebert_core.files import read_json, write_text

_SECONDS = 1.0  # between two writes of a record; a kill leaves answers of so long whose input is not compared


class AnswerRecord:
    """The record of one file of answers: `.NAME.resume.json` in its directory.

    Args:
        answers: the file of answers.
        made_from: all that decides the answers but the input: a name to a plain value; of "model" and "tokenizer"
            the digest by file name.
    """

    def __init__(self, answers: Path, made_from: Mapping[str, Any]) -> None:
        self.answers = answers
        self.path = answers.with_name(f".{answers.name}.resume.json")
        self.made_from: dict[str, Any] = json.loads(json.dumps(dict(made_from)))
        self._lines, self._sha256 = 0, ""  # the last line that was answered, and the digest of the input up to it
        self._digests: deque[tuple[int, str]] = deque()  # of lines that are not answered yet
        self._written = 0.0

    def begin(self) -> None:
        """Records that nothing is answered yet."""
        self._lines, self._sha256 = 0, hashlib.sha256().hexdigest()
        self.save()

    def load(self) -> None:
        """Takes up what an earlier run recorded.

        Raises:
            InputError: when there is no record, or one of answers that were made from something else.
        """
        try:
            found = read_json(self.path)
            made_from, lines, digest = found["made_from"], found["lines"], found["sha256"]
            whole = isinstance(made_from, dict) and type(lines) is int and isinstance(digest, str)
        except (CheckpointError, KeyError):
            whole = False
        if not whole:
            raise InputError(
                f"{self.answers}: wanted {self.path.name} beside it, which says what its answers were made from, got "
                "none or a damaged one. Start anew without --resume, or with another --output."
            )
        if changes := self._changes(made_from):
            raise InputError(
                f"{self.answers}: its answers were made from something else ({'; '.join(changes)}). Resume with the "
                "same, or choose another --output."
            )
        self._lines, self._sha256 = lines, digest

    def _changes(self, before: Mapping[str, Any]) -> list[str]:
        changes = []
        for name in sorted({*before, *self.made_from}):
            earlier, now = before.get(name), self.made_from.get(name)
            if earlier == now:
                continue
            if name in ("model", "tokenizer"):
                changes += [f"{name}: {change}" for change in changed_files(earlier or {}, now or {})]
            else:
                changes.append(f"{name} was {earlier!r}, now {now!r}")
        return changes

    def unchanged(self, rows: Iterator[InputRow], done: int) -> Iterator[InputRow]:
        """The rows of the input after the first `done`, once those that were answered are known to be the same.

        Raises:
            InputError: when they are others.
        """
        digest, compared, found = hashlib.sha256(), self._lines == 0, done == 0
        waiting: list[InputRow] = []

        def compare() -> None:
            if digest.hexdigest() != self._sha256:
                raise InputError(
                    f"{self.answers}: answers an input whose first {self._lines:,} lines were others. Resume with the "
                    "same input, or choose another --output."
                )

        for row in rows:
            if not compared and row.line > self._lines:
                compare()
                compared = True
                yield from waiting
            digest.update(json.dumps([row.line, row.values, row.kept], default=repr).encode() + b"\n")
            found = found or row.line == done
            if row.line <= done:
                continue
            if not found:
                break
            self._digests.append((row.line, digest.hexdigest()))
            if compared:
                yield row
            else:
                waiting.append(row)
        if not compared:
            compare()
        if not found:
            raise InputError(
                f"{self.answers}: its last answer is to line {done:,}, where the input has none. Start anew without "
                "--resume, or with another --output."
            )
        yield from () if compared else waiting

    def wrote(self, row: InputRow) -> None:
        """Takes note of an answer that is in the file; lines are answered in their order."""
        while self._lines < row.line:  # lines between that were broken count as answered
            self._lines, self._sha256 = self._digests.popleft()
        if time.monotonic() - self._written > _SECONDS:
            self.save()

    def move(self, answers: Path) -> None:
        """Follows the answers to their place."""
        before, self.answers = self.path, answers
        self.path = answers.with_name(f".{answers.name}.resume.json")
        os.replace(before, self.path)

    def follow(self, other: Path, done: int) -> None:
        """Takes the record of answers that have come to their place without it: the run was killed in between.

        Args:
            other: the record they had before.
            done: the line of the last answer, which the record must reach.
        """
        if other == self.path or not other.is_file():
            return
        with contextlib.suppress(CheckpointError, KeyError, TypeError):
            if read_json(other)["lines"] >= done:
                os.replace(other, self.path)

    def save(self) -> None:
        """Writes the record."""
        self._written = time.monotonic()
        record = {"made_from": self.made_from, "lines": self._lines, "sha256": self._sha256}
        write_text(self.path, json.dumps(record, indent=2) + "\n")

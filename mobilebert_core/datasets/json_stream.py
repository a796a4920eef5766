"""JSON of any size, taken apart while it is read: of it one value and one piece of the file are in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from ..errors import DataError
from ..files import TwiceError, different_keys
from .sources import AS_UTF8, NOT_UTF8, Source, is_utf8

_BLANKS = re.compile(r"[ \t\n\r]*")
# The longest word or escape that a piece may end in: so near to its end an error may be one of the cut alone.
_LONGEST_WORD = 16


class JsonStream:
    """What comes next in a file of JSON: an object or array to be gone through, or a value to be taken whole.

    Raises:
        DataError: from each method, with line and column, for text that is not JSON or not UTF-8.
    """

    def __init__(self, source: Source) -> None:
        self.path, self._pieces = source.path, source.pieces()
        self._text, self._at = "", 0
        self._start = (1, 1, 0)  # line, column and number in the file of the first character of `_text`
        self._decode = json.JSONDecoder(object_pairs_hook=different_keys).raw_decode

    def peek(self) -> str:
        """The next character that is not blank; an empty text at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """Takes the next value, as `json.loads` makes it."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except TwiceError as e:
                self._refuse_twice(str(e), self._at)
            except ValueError as e:  # of JSON, or of a number with too many digits
                message, at = (e.msg, e.pos) if isinstance(e, json.JSONDecodeError) else (str(e), self._at)
                cut = message.startswith("Unterminated string") or at >= len(self._text) - _LONGEST_WORD
                if not (cut and self._read_on()):
                    self._refuse(message, at)
            except RecursionError:
                line = self._place(self._at)[0]
                raise DataError(
                    f"{self.path}:{line}: wanted SQuAD's JSON, got a value that is nested too deeply."
                ) from None
            else:
                if end < len(self._text) or not self._read_on():  # a number may go on in the next piece
                    self._at = end
                    return value

    def elements(self) -> Iterator[int]:
        """Goes through an array: the number of each element, which the caller takes before the next."""
        return (number for number, _ in enumerate(self._parts("[", "]")))

    def members(self) -> Iterator[str]:
        """Goes through an object: the key of each value, which the caller takes before the next."""
        names = set()
        for _ in self._parts("{", "}"):
            if self.peek() != '"':
                self._refuse("Expecting property name enclosed in double quotes", self._at)
            start, name = self._at, self.value()
            if name in names:
                self._refuse_twice(name, start)
            names.add(name)
            self._take(":")
            yield name

    def end(self) -> None:
        """Takes note that nothing must follow."""
        if self.peek():
            self._refuse("Extra data", self._at)

    def _parts(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.peek() != closing:
            yield
            while self.peek() == ",":
                self._take(",")
                yield
            if self.peek() != closing:
                self._refuse("Expecting ',' delimiter", self._at)
        self._take(closing)

    def _take(self, sign: str) -> None:
        if self.peek() != sign:
            self._refuse(f"Expecting {sign!r} delimiter", self._at)
        self._at += 1

    def _read_on(self) -> bool:
        """Reads at least as much as is left, so that a long value is not decoded many times; False at the end."""
        left = self._text[self._at :]
        more: list[str] = []
        size = 0
        for piece in self._pieces:
            if not is_utf8(piece):
                before = piece[: next(place for place, sign in enumerate(piece) if not is_utf8(sign))]
                line = self._start[0] + "".join([self._text, *more, before]).count("\n")
                raise DataError(f"{self.path}:{line}: {NOT_UTF8} {AS_UTF8}.")
            more.append(piece)
            size += len(piece)
            if size >= len(left):
                break
        if more:
            self._start = self._place(self._at)
            self._text, self._at = "".join([left, *more]), 0
        return bool(more)

    def _place(self, at: int) -> tuple[int, int, int]:
        """Line and column from 1, and number in the file from 0, of a character of `_text`."""
        line, column, number = self._start
        last = self._text.rfind("\n", 0, at)
        return line + self._text.count("\n", 0, at), at - last if last >= 0 else column + at, number + at

    def _refuse_twice(self, name: str, at: int) -> NoReturn:
        line = self._place(at)[0]
        raise DataError(f"{self.path}:{line}: wanted different keys in a JSON object, got {name!r} twice.") from None

    def _refuse(self, message: str, at: int) -> NoReturn:
        line, column, number = self._place(at)
        where = f"line {line} column {column} (char {number})"
        raise DataError(f"{self.path}:{line}: wanted JSON, got text that breaks off ({message}: {where}).") from None

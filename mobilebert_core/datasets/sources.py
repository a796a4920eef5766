"""Where data come from: a file, packed or not, or a stream, as lines of UTF-8 text that know their number."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, cast

from ..errors import DataError, what_to_do

try:
    import lzma
except ImportError:  # a Python that was built without it
    lzma = None  # type: ignore[assignment]

PACKED = (".gz", ".xz")  # endings of packed files
_DAMAGED: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
if lzma is not None:
    _DAMAGED = (*_DAMAGED, lzma.LZMAError)
NOT_UTF8 = "wanted UTF-8 text, got other bytes."
AS_UTF8 = "Save the file as UTF-8"  # what to do about them
_LINES_AT_ONCE = 1024
_PIECE = 1 << 18  # characters
_LOOKED_AT = 64  # characters of a first line
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class EmptyError(DataError):
    """Nothing but blanks where data should be."""


@dataclass(frozen=True)
class Source:
    """A file of data, or with `stream` what comes from there; `form` is the ending that says its format, as ".csv"."""

    path: Path  # of a stream what messages call it
    form: str
    stream: BinaryIO | None = None

    @classmethod
    def of(cls, path: Path) -> Source:
        """A file, whose format its name says."""
        return cls(path, ending(path))

    @property
    def packed(self) -> bool:
        """Whether the file is packed by gzip or xz."""
        return self.stream is None and self.path.suffix.lower() in PACKED

    @contextmanager
    def binary(self) -> Iterator[IO[bytes]]:
        """The bytes, unpacked.

        Raises:
            DataError: for a file that is not there or cannot be read.
        """
        try:
            if self.stream is not None:
                yield self.stream
            elif self.packed:
                with _unpacked(self.path) as unpacked:
                    yield unpacked
            else:
                with self.path.open("rb") as plain:
                    yield plain
        except _DAMAGED as e:
            kind = "xz" if self.path.suffix.lower() == ".xz" else "gzip"
            raise DataError(
                f"{self.path}: wanted a file packed by {kind}, it is damaged ({e}). Copy it again."
            ) from None
        except OSError as e:
            why = e.strerror or e
            raise DataError(f"{self.path}: wanted a data file, cannot read it ({why}). {what_to_do(e)}") from None

    def lines(self, newline: str | None = None) -> Iterator[str]:
        r"""The lines, each with its end; bytes that are not UTF-8 are lone surrogates, a byte order mark is left out.

        A line ends with \n, \r\n or \r. `newline` is that of `open`: None makes every end \n, "" leaves it.

        Raises:
            DataError: for a file that cannot be read, is UTF-16 (also without a mark), or holds nothing but blanks.
        """
        with self._opened(newline) as text:
            yield from self._not_empty(text)

    @contextmanager
    def _opened(self, newline: str | None) -> Iterator[TextIO]:
        with self.binary() as binary:
            text = io.TextIOWrapper(binary, "utf-8-sig", "surrogateescape", newline)
            try:
                yield text
            finally:
                if self.stream is not None:
                    text.detach()  # it stays open

    def _not_empty(self, text: Iterator[str]) -> Iterator[str]:
        first: list[str] = []
        for line in text:
            if not first and (line.encode("utf-8", "surrogateescape").startswith(_UTF_16) or _every_second(line)):
                raise DataError(f"{self.path}: wanted UTF-8 text, got UTF-16. Save it as UTF-8.")
            first.append(line)
            if not line.isspace():
                break
        else:
            raise EmptyError(f"{self.path}: wanted rows of data, the file is empty.")
        yield from first
        yield from text

    def numbered(self) -> Iterator[tuple[int, str]]:
        """The lines by their number from 1, without their ends."""
        return ((number, line.removesuffix("\n")) for number, line in enumerate(self.lines(), 1))

    def blocks(self) -> Iterator[list[str]]:
        """The lines with their ends, many at a time, for those who do little with each."""
        lines = self.lines()
        while block := list(itertools.islice(lines, _LINES_AT_ONCE)):
            yield block

    def pieces(self) -> Iterator[str]:
        r"""The text in pieces of one size, whatever its lines, with \n at their ends; raises DataError as `lines`."""
        with self._opened(newline=None) as text:
            yield from self._not_empty(iter(lambda: text.read(_PIECE), ""))


def _every_second(line: str) -> bool:
    """Whether every second byte of a first line is 0: Latin letters in UTF-16 without a byte order mark."""
    some = line[:_LOOKED_AT].rstrip("\r\n\0")
    return len(some) > 1 and (set(some[::2]) == {"\0"} or set(some[1::2]) == {"\0"})


def _unpacked(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if lzma is None:
        raise DataError(f"{path}: wanted a Python with the module lzma, which unpacks xz, got one without. Unpack it.")
    return io.BufferedReader(_Pieces(_xz_pieces(path)))


def _xz_pieces(path: Path) -> Iterator[bytes]:
    """The content of all streams of a file; `lzma.open` takes what follows the first for the end, be it data."""
    decoder = lzma.LZMADecompressor()
    with path.open("rb") as file:
        while packed := file.read(_PIECE):
            while packed or not decoder.needs_input:
                if decoder.eof:
                    if not (packed := packed.lstrip(b"\0")):  # between streams there may be padding
                        break
                    decoder = lzma.LZMADecompressor()
                yield decoder.decompress(packed, _PIECE)
                packed = decoder.unused_data
    if not decoder.eof:
        raise EOFError("it breaks off")


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece:
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._piece = piece
        size = min(len(buffer), len(self._piece))
        buffer[:size], self._piece = self._piece[:size], self._piece[size:]
        return size


def stem(path: Path) -> str:
    """The name of a file without its ending, .gz or .xz included."""
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).stem


def ending(path: Path) -> str:
    """The ending of a file's name, in lower case, by which its format is known; .gz or .xz at its end says nothing."""
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return path.suffix.lower()


def is_utf8(text: str) -> bool:
    """False for text with bytes in it that are not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

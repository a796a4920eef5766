"""Answers of `mobilebert predict` as a Parquet file, written some rows at a time and seen when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.errors import BackendMissingError, InputError
from mobilebert_core.files import replacing

PARQUET = ".parquet"
_ROWS_AT_ONCE = 4096


class ParquetAnswers:
    """The counterpart of `AnswerFile`: columns `line`, what is kept of the input, and `result`.

    The first rows decide the types. Nothing is resumed: a file that is not finished is not kept.

    Raises:
        BackendMissingError: without pyarrow.
        InputError: for an answer that the types of those before do not hold, and to resume.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        if resume:
            raise InputError(f"predict: {path} is written as a whole, --resume is for JSON lines. Leave it out.")
        try:
            import pyarrow.parquet
        except ImportError as e:
            raise BackendMissingError(
                f"{path}: wanted the package pyarrow to write it, which is not installed ({e}). Install it: "
                "pip install 'mobilebert[arrow]'."
            ) from e
        self.path = path
        self.done = 0
        self.written = 0
        self.finished = False
        self._arrow, self._stack = pyarrow, ExitStack()
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def __enter__(self) -> Self:
        self._place = self._stack.enter_context(replacing(self.path))
        return self

    def unanswered(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        return rows

    def write(self, row: InputRow, answer: Any) -> None:
        result = answer.tolist() if hasattr(answer, "tolist") else answer
        self._rows.append({"line": row.line, **row.kept, "result": result})
        self.written += 1
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and not self.finished:
            error = (KeyboardInterrupt, KeyboardInterrupt(), None)
        try:
            if error[0] is None:
                self._flush()
                if self._writer is None:  # a share of a few rows among many jobs
                    self._write(self._arrow.table({"line": self._arrow.array([], self._arrow.int64())}))
        except InputError as e:
            error = (type(e), e, None)
        if self._writer is not None:
            self._writer.close()
        try:
            self._stack.__exit__(*error)
        except KeyboardInterrupt:
            return
        if isinstance(error[1], InputError):
            raise error[1]

    def _flush(self) -> None:
        if not self._rows:
            return
        schema = None if self._writer is None else self._writer.schema
        try:
            table = self._arrow.Table.from_pylist(self._rows, schema)
        except (self._arrow.ArrowException, TypeError) as e:
            raise InputError(
                f"predict: {self.path}: wanted answers of one type, as those before, got another ({str(e)[:200]}). "
                "Write JSON lines."
            ) from None
        self._write(table)
        self._rows = []

    def _write(self, table: Any) -> None:
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._place, table.schema)
        self._writer.write_table(table)

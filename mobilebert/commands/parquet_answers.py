"""Answers of `mobilebert predict` as a Parquet file, written some rows at a time and seen when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from mobilebert_core.datasets.arrow_files import pyarrow_missing
from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.errors import InputError
from mobilebert_core.files import replacing

PARQUET = ".parquet"
_ROWS_AT_ONCE = 4096
_MOST_WAITING = 256 << 20  # bytes of rows for whose types is waited


class ParquetAnswers:
    """The counterpart of `AnswerFile`: columns `line`, what is kept of the input, and `result`.

    The first rows decide the types, those with values in every place. Nothing is resumed: a file that is not finished
    is not kept.

    Raises:
        BackendMissingError: without pyarrow.
        InputError: for an answer that the types of those before do not hold, and to resume.
        SaveError: when the disk is full.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        if resume:
            raise InputError(f"predict: {path} is written as a whole, --resume is for JSON lines. Leave it out.")
        try:
            import pyarrow.parquet
        except ImportError as e:
            raise pyarrow_missing(path, "write", e) from e
        self.path = path
        self.done = 0
        self.written = 0
        self.finished = False
        self._arrow, self._stack = pyarrow, ExitStack()
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[Any] = []  # tables whose types are not known yet
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
        mine: Exception | None = None
        try:
            if error[0] is None:
                self._flush(last=True)
                if self._writer is None:  # a share of a few rows among many jobs
                    self._write(self._arrow.table({"line": self._arrow.array([], self._arrow.int64())}))
        except Exception as e:
            mine, error = e, (type(e), e, None)
        try:
            if self._writer is not None:
                self._writer.close()
        except Exception as e:  # a disk that is full in the end
            mine, error = (mine, error) if error[0] is not None else (e, (type(e), e, None))
        try:
            self._stack.__exit__(*error)
        except KeyboardInterrupt:
            return
        if mine is not None:
            raise mine

    def interrupted(self) -> str:
        """What an interruption leaves."""
        return "nothing is kept, since a Parquet file is written as a whole"

    def _flush(self, last: bool = False) -> None:
        """Writes the rows, once their types are known: of a batch of empty lists nobody knows what lies in them."""
        if not self._rows and not self._waiting:
            return
        try:
            if self._rows:
                self._waiting.append(self._arrow.Table.from_pylist(_of_equal_keys(self._rows)))
                self._rows = []
            schemas = [*([] if self._writer is None else [self._writer.schema]), *(t.schema for t in self._waiting)]
            schema = self._arrow.unify_schemas(schemas, promote_options="permissive")
            if self._writer is not None and schema != self._writer.schema:
                names = [each.name for each in schema if each not in [*self._writer.schema]]
                raise TypeError(f"of {', '.join(names)}")
            large = sum(table.nbytes for table in self._waiting) > _MOST_WAITING
            if last or large or self._writer is not None or not any(self._is_open(each.type) for each in schema):
                for table in self._waiting:
                    fits = table.schema == schema
                    self._write(table if fits else self._arrow.Table.from_pylist(table.to_pylist(), schema))
                self._waiting = []
        except (self._arrow.ArrowException, TypeError) as e:
            if isinstance(e, OSError):
                raise
            raise InputError(
                f"predict: {self.path}: wanted answers of one type, as those before, got another ({str(e)[:200]}). "
                "Write JSON lines."
            ) from None

    def _is_open(self, kind: Any) -> bool:
        """Whether a type says nothing of some values, because none was there."""
        types = self._arrow.types
        if types.is_list(kind):
            return self._is_open(kind.value_type)
        if types.is_struct(kind):
            return any(self._is_open(kind.field(i).type) for i in range(kind.num_fields))
        return bool(types.is_null(kind))

    def _write(self, table: Any) -> None:
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._place, table.schema)
        self._writer.write_table(table)


def _of_equal_keys(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the columns of all of them; what is kept of the input may be missing in some."""
    names = dict.fromkeys(name for row in rows for name in row if name != "result")
    return [{name: row.get(name) for name in (*names, "result")} for row in rows]

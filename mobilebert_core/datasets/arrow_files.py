"""Parquet and Arrow files as rows, by pyarrow, which is imported when the first one is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BackendMissingError, DataError
from .sources import Source

PARQUET = (".parquet",)
ARROW_FILES = (*PARQUET, ".arrow", ".feather")
_ROWS_AT_ONCE = 1024  # that are held as Python objects


def pyarrow_missing(path: Path, verb: str, error: ImportError) -> BackendMissingError:
    """The error where pyarrow would "read" or "write" a file and is not installed."""
    return BackendMissingError(
        f"{path}: wanted the package pyarrow to {verb} it, which is not installed ({error}). Install it: "
        "pip install 'mobilebert[arrow]'."
    )


def arrow_rows(source: Source) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The names of the columns, and the rows by their number from 1.

    Raises:
        DataError: for a file that is none of these, or has no rows.
        BackendMissingError: when pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as e:
        raise pyarrow_missing(source.path, "read", e) from e
    try:
        names, batches = _opened(source)
    except (pyarrow.ArrowException, OSError) as e:
        raise _damaged(source, e) from None
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{source.path}: the column {doubled[0]!r} stands there twice. Rename one.")

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            for batch in batches:
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    for row in _floats(batch.slice(start, _ROWS_AT_ONCE)).to_pylist():
                        number += 1
                        yield number, row
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as e:
            raise _damaged(source, e) from None

    return names, rows()


def _opened(source: Source) -> tuple[list[str], Iterator[Any]]:
    """The names of the columns, and the record batches of a file."""
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    with source.binary() as binary:
        whole = source.stream is not None or source.packed
        data = pyarrow.BufferReader(binary.read()) if whole else pyarrow.memory_map(str(source.path))
    if source.form in PARQUET:
        parquet = pyarrow.parquet.ParquetFile(data)
        return list(parquet.schema_arrow.names), parquet.iter_batches(_ROWS_AT_ONCE)
    try:
        reader = pyarrow.ipc.open_file(data)
    except pyarrow.ArrowInvalid:  # datasets writes a stream
        data.seek(0)
        reader = pyarrow.ipc.open_stream(data)
        return list(reader.schema.names), iter(reader)
    return list(reader.schema.names), (reader.get_batch(i) for i in range(reader.num_record_batches))


def _floats(batch: Any) -> Any:
    """A record batch whose columns of decimals are of floats: a number is a number, however a database keeps it."""
    import pyarrow

    columns = [c.cast(pyarrow.float64()) if pyarrow.types.is_decimal(c.type) else c for c in batch.columns]
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _damaged(source: Source, error: Exception) -> DataError:
    kind = "a Parquet" if source.form in PARQUET else "an Arrow"
    return DataError(f"{source.path}: wanted {kind} file, it cannot be read as one ({str(error)[:200]}).")

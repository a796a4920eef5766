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
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream


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
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _damaged(source, e) from None
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{source.path}: the column {doubled[0]!r} stands there twice. Rename one.")

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            for batch in batches:
                if source.form not in PARQUET:
                    batch.validate(full=True)  # offsets are read as they stand, and may lead out of the file
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    columns = [_values(column) for column in batch.slice(start, _ROWS_AT_ONCE).columns]
                    for cells in zip(*columns, strict=True):
                        number += 1
                        yield number, dict(zip(names, cells, strict=True))
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
        return list(reader.schema.names), _to_its_end(reader, data)
    return list(reader.schema.names), (reader.get_batch(i) for i in range(reader.num_record_batches))


def _to_its_end(reader: Any, data: Any) -> Iterator[Any]:
    """The record batches of a stream that fills its file: one that was cut between two batches lacks its end."""
    import pyarrow

    yield from reader
    read = data.tell()
    data.seek(max(0, read - len(_END)))
    if data.read(len(_END)) != _END:
        raise pyarrow.ArrowInvalid("it breaks off: the mark at its end is not there")
    if more := data.size() - read:
        raise pyarrow.ArrowInvalid(f"{more} bytes follow its end, as where files were joined")


def _values(column: Any) -> list[Any]:
    """The cells of a column as values of JSON, however a database keeps them: numbers for decimals, texts for times."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_decimal(kind):
        column = _numbers(column)
    elif types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind) or types.is_duration(kind):
        if types.is_timestamp(kind):
            column = column.cast(pyarrow.timestamp(kind.unit))  # a time zone may be one that is not known here
        column = column.cast(pyarrow.string())
    try:
        return list(column.to_pylist())
    except (pyarrow.ArrowException, UnicodeDecodeError):
        raise
    except (ValueError, OverflowError):  # a time that Python has not, in lists or objects
        return [None] * len(column)


def _numbers(decimals: Any) -> Any:
    """Whole numbers where there are no others, of which a float would keep 15 digits."""
    import pyarrow

    if decimals.type.scale > 0:
        return decimals.cast(pyarrow.float64())
    try:
        return decimals.cast(pyarrow.int64())
    except pyarrow.ArrowInvalid:
        return decimals.cast(pyarrow.string())


def _damaged(source: Source, error: Exception) -> DataError:
    kind = "a Parquet" if source.form in PARQUET else "an Arrow"
    return DataError(f"{source.path}: wanted {kind} file, it cannot be read as one ({str(error)[:200]}).")

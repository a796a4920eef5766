"""HDF5 files, read one dataset at a time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BackendMissingError, CheckpointError
from ...files import SAVE_ID
from ..dtypes import widened
from ..tensor_info import MOST_ARRAYS, TensorInfo, check_count, too_many
from .held_file import FileState, check_unchanged, file_state

# What reading a file that is damaged or crafted makes h5py raise.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
OVERHEAD = 16_000  # bytes of an array beyond its numbers, at most: the groups around it
_NAMES_OF_AN_ARRAY = 4  # its own, and its share of those of the groups around it
_MOST_EXPANSION = 1032  # of deflate, by its format; a dataset that grows more holds no weights


class H5File:
    """The datasets of an HDF5 file by their path, wherever groups nest. Links out of the file are not followed.

    `save_id` is that of the save in several files to which this one belongs, where it says.

    Args:
        path: of the file; with `content`, what messages call it.
        content: the bytes, when they are not a file of their own.

    Raises:
        CheckpointError: when it is no HDF5 file, a damaged one, or one whose datasets are not simply in it.
        BackendMissingError: without h5py, which Keras brings along.
    """

    def __init__(self, path: Path, content: io.RawIOBase | None = None) -> None:
        h5py = import_h5py(path)
        self.path = path
        self.stored: dict[str, TensorInfo] = {}
        self._datasets: dict[str, Any] = {}
        try:
            self._file = h5py.File(path if content is None else content, "r")
            self._opened = self._state(content)
            found = self._file.attrs.get(SAVE_ID)
            self.save_id = found.decode(errors="replace") if isinstance(found, bytes) else None
            self._check_count()
            self._collect(self._file, h5py, {h5py.h5o.get_info(self._file.id).addr})
        except CheckpointError:
            raise
        except _H5PY_ERRORS as e:
            raise CheckpointError(f"{path}: not a whole HDF5 file ({e}). Fetch or save it again.") from None

    def _state(self, content: Any) -> FileState | None:
        return file_state(self._file.id.get_vfd_handle()) if content is None else None

    def _check_count(self) -> None:
        """Raises CheckpointError for more names than the groups and arrays of a model have, before any is opened."""
        names: list[str] = []

        def visit(name: Any) -> bool | None:
            names.append(str(name))
            return True if len(names) > _NAMES_OF_AN_ARRAY * MOST_ARRAYS else None  # which goes on

        self._file.visit_links(visit)
        if len(names) > _NAMES_OF_AN_ARRAY * MOST_ARRAYS:
            raise too_many(self.path, names)

    def _collect(self, group: Any, h5py: Any, seen: set[int]) -> None:
        for name in group:
            if not isinstance(name, str):  # h5py gives the bytes of a name that is not UTF-8
                raise CheckpointError(f"{self.path}: {name!r} is no name, the file is damaged. Fetch or save it again.")
            where = f"{self.path}: {group.name.rstrip('/')}/{name}"
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise CheckpointError(f"{where} is a link out of its place; not followed.")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # a file of few bytes can unfold without end
                raise CheckpointError(f"{where} is a second name of another object; not followed.")
            seen.add(address)
            if isinstance(item, h5py.Group):
                self._collect(item, h5py, seen)
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                path = item.name.lstrip("/")
                self.stored[path], self._datasets[path] = _described(item, where), item
                check_count(self.path, self.stored)
            else:
                raise CheckpointError(f"{where} holds no array, wanted groups and arrays alone.")

    def read(self, name: str) -> np.ndarray:
        """One array. bfloat16, which numpy lacks, comes exactly as float32."""
        try:
            array = np.asarray(self._datasets[name][()])
        except _H5PY_ERRORS as e:
            raise CheckpointError(f"{self.path}: {name} cannot be read ({e}).") from None
        if self._opened is not None:
            check_unchanged(self._file.id.get_vfd_handle(), self._opened, self.path, name)
        if self.stored[name].dtype == "bfloat16":
            return widened(array.view("<u2"))
        return array.astype(array.dtype.newbyteorder("="), copy=False)


@contextmanager
def writing_hdf5(path: Path) -> Iterator[Any]:
    """A new HDF5 file, open for writing.

    The HDF5 library does not survive a disk that is full: it fails when it closes the file, and again when the process
    ends. So it believes that everything was written, and what went wrong is raised here.

    Raises:
        OSError: when the disk is full, or the file cannot be written for another reason.
        BackendMissingError: without h5py.
    """
    h5py = import_h5py(path)
    with _NeverFull(path, "w+b") as file:
        try:
            with h5py.File(file, "w") as content:
                yield content
        except _H5PY_ERRORS:  # what was not written cannot be read back either
            if file.failed is None:
                raise
        if file.failed is not None:
            raise file.failed


def mark_hdf5(path: Path, save_id: str) -> None:
    """Enters the id of a save in a file that has room for it: the attribute, of the same length."""
    with import_h5py(path).File(path, "r+") as file:
        file.attrs.modify(SAVE_ID, np.bytes_(save_id))


class _NeverFull(io.FileIO):
    """A file that keeps the first error of writing to itself, and pretends to have written."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest and self.failed is None:
            try:
                rest = rest[super().write(rest) or 0 :]
            except OSError as e:
                self.failed = e
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as e:
            self.failed = self.failed or e
            return size or 0


def import_h5py(path: Path) -> Any:
    """h5py, wanted for the file at `path`; raises BackendMissingError without it."""
    try:
        import h5py
    except ImportError as e:
        raise BackendMissingError(f"{path}: HDF5 needs h5py: pip install h5py.") from e
    return h5py


def _described(dataset: Any, where: str) -> TensorInfo:
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{where} keeps its data in another file; not followed.")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if declared > _MOST_EXPANSION * stored:
        raise CheckpointError(f"{where} is said to hold {declared:,} bytes, but {stored:,} are stored; not read.")
    # h5py has no type for bfloat16: Keras stores two bytes without a type, and the name beside them.
    marked = dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and dataset.attrs.get("dtype") == "bfloat16"
    return TensorInfo(tuple(dataset.shape), "bfloat16" if marked else dataset.dtype.name)

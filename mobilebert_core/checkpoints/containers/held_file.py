"""A file that is held open from the first byte read to the last."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from ...errors import CheckpointError

FileState = tuple[int, int]  # size and time: what changes when somebody writes into a file


class HeldFile(io.FileIO):
    """A file that stays open as long as its reader lives: one that takes its place changes nothing of what is read.

    Programs that write into the file itself are found out by `check`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.path = path
        self._opened = file_state(self.fileno())

    def fill(self, array: np.ndarray, begin: int) -> int:
        """Reads the bytes of an array from a place in the file; returns how many there were."""
        if not array.nbytes:
            return 0
        rest = array.reshape(-1).view(np.uint8).data
        self.seek(begin)
        while rest and (read := self.readinto(rest)):
            rest = rest[read:]
        return array.nbytes - len(rest)

    def check(self, name: str) -> None:
        """Raises CheckpointError when somebody has written into the file since it was opened."""
        check_unchanged(self.fileno(), self._opened, self.path, name)

    def __del__(self) -> None:
        self.close()


def file_state(descriptor: int) -> FileState:
    """The state of an open file, by its number."""
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def check_unchanged(descriptor: int, opened: FileState, path: Path, name: str) -> None:
    """Raises CheckpointError when an open file is no longer in the state in which it was opened."""
    if file_state(descriptor) != opened:
        raise CheckpointError(
            f"{path}: was written to while it was read, and {name} may be that of another model. Nothing was loaded; "
            "load it again when nobody writes there."
        )

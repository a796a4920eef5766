"""Locks on files by the operating system, which ends them with the process that holds them, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import ConfigError

_BEYOND = 2**31 - 2  # the byte that is locked on Windows, where a lock keeps others from reading: no file is so long


def lock(descriptor: int) -> bool:
    """Locks an open file for this process until it is closed; False where another has it.

    Where the file system knows no locks, nothing is locked.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _BEYOND, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # such as ENOLCK
        return True
    return True


def refuse(place: Path) -> ConfigError:
    """The error for a place where another process writes."""
    return ConfigError(
        f"{place}: wanted a place of its own for this command, got one where another process writes. Wait until it has "
        "ended, or choose another --output."
    )


class DirectoryLock:
    """A lock on a directory: a file in it that is locked, and goes when it is released.

    Attributes:
        name: of the file. One that a killed process left locks nothing.
    """

    name = ".lock"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor: int | None = None

    def check(self) -> None:
        """Raises ConfigError where another process has the lock; changes nothing."""
        path = self.directory / self.name
        if self._descriptor is None and path.is_file():
            descriptor = os.open(path, os.O_RDWR)
            try:
                if not lock(descriptor):
                    raise refuse(self.directory)
            finally:
                os.close(descriptor)

    def take(self) -> None:
        """Locks the directory, which must be there; ConfigError where another process has it."""
        path = self.directory / self.name
        while self._descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if not lock(descriptor):
                os.close(descriptor)
                raise refuse(self.directory)
            try:
                still_there = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                still_there = False
            if still_there:
                self._descriptor = descriptor
            else:  # the one who had it removed the file between the two calls above
                os.close(descriptor)

    def release(self) -> None:
        """Removes the file and the lock."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            if sys.platform != "win32":  # where an open file cannot be removed; the next one to lock takes it over
                (self.directory / self.name).unlink(missing_ok=True)
            os.close(descriptor)

"""Readers beside writers: what is read together is of one save.

A reader looks at a folder before and after it reads, and begins again where a file that matters was replaced meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .errors import CheckpointError, MobileBertError
from .saves import SAVED

_WAITS = (0.0, *(min(0.005 * 1.3**n, 0.25) for n in range(24)))  # seconds before a reader tries again; 4 in all

T = TypeVar("T")


class RestlessFolderError(CheckpointError):
    """A folder whose files were replaced each time they were read."""


def steady(folder: Path, read: Callable[[], T], wanted: Callable[[str], bool]) -> T:
    """What `read` makes of a folder in which no file that matters was replaced meanwhile.

    `read` asks `current` or `arriving` for its files, opens what it needs and keeps it open. It is called again when a
    writer was busy meanwhile, and its errors count only if none was.

    Args:
        wanted: a name -> whether that file matters.

    Raises:
        RestlessFolderError: when the folder does not come to rest.
    """
    for wait in _WAITS:
        time.sleep(wait)
        before = _look(folder, wanted)
        result: T | None = None
        error: Exception | None = None
        try:
            result = read()
        except RestlessFolderError:  # of a part of what is read: that one has waited already
            raise
        except (MobileBertError, OSError) as e:
            error = e
        if _look(folder, wanted) == before:
            if error is not None:
                raise error
            return result  # type: ignore[return-value]
    raise RestlessFolderError(
        f"{folder}: its files were replaced each time they were read, {len(_WAITS)} times. Nothing was loaded; wait "
        "until nobody writes there."
    )


def _look(folder: Path, wanted: Callable[[str], bool]) -> dict[tuple[bool, str], tuple[int, int, int]]:
    """What lies in a folder, and in the save on its way there."""
    found = {}
    for place in (folder, folder / SAVED):
        try:
            names = [name for name in os.listdir(place) if wanted(name)]
        except (OSError, ValueError):  # not there, or no path at all
            continue
        for name in names:
            with contextlib.suppress(OSError):  # gone since
                seen = os.stat(place / name)
                found[place == folder, name] = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
    return found

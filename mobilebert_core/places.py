"""Which places a file may take. Renaming puts a file in the place of whatever is there, devices included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import CheckpointError, ConfigError

_OF_THE_SYSTEM = ("/dev/", "/proc/")  # where links to open streams lead, such as /dev/stdout


def in_the_way(place: Path) -> str | None:
    """What keeps a file from its place: a file in the place of a directory above, or what `check_places` refuses."""
    above = [each for each in place.parents if each.exists() and not each.is_dir()]
    return f"below {above[0]}, which is a file" if above else _no_file(place)


def _no_file(place: Path) -> str | None:
    """What is in a place that no file may take: not a file, nor a link to one or to nothing."""
    if place.is_dir():
        return "a directory"
    if place.is_symlink() and os.readlink(place).startswith(_OF_THE_SYSTEM):
        return "a link to a device or an open stream"
    return "a device, a pipe or a socket" if place.exists() and not place.is_file() else None


def check_directory(place: Path, option: str) -> None:
    """Raises ConfigError where a directory cannot be: a file is there, or in the place of a directory above."""
    for each in (place, *place.parents):
        if each.exists() and not each.is_dir():
            which = "" if each == place else f" in the place of {each}"
            raise ConfigError(f"{place}: wanted a directory, got a file{which}. Choose another {option}.")


def check_places(places: Iterable[Path]) -> None:
    """Raises CheckpointError where a file would take the place of a directory, a device, a pipe or a stream."""
    for place in places:
        if (found := _no_file(place)) is not None:
            raise CheckpointError(
                f"{place.parent}: {place.name} is {found} where a file is to be. Choose another place; nothing was "
                "written."
            )

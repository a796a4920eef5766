"""The standard streams of the command, which whoever starts it may have closed."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from tqdm import tqdm

from mobilebert_core.errors import InputError


def open_missing() -> None:
    """Puts the null device in place of closed streams, so that no file gets their numbers and becomes one of them.

    Messages for a closed standard error go nowhere: Python would print them to standard output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            place = os.open(os.devnull, os.O_RDWR)
            if place != number:
                os.dup2(place, number)
                os.close(place)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def show_every_name() -> None:
    """Lets standard output escape what its encoding has not, such as names of files that are no text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def check_stdout(command: str) -> None:
    """Raises InputError where standard output, to which a command gives its answers, is closed."""
    if sys.stdout is None:
        raise InputError(f"{command}: wanted a standard output for the answers, got a closed one. Send it to a file.")


def discard_output() -> None:
    """What is still to be written to a stream whose reader has gone, or whose disk is full, goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def say(message: str) -> None:
    """Prints a message on standard error, if anyone reads it, above a bar that is drawn there."""
    with suppress(OSError):
        tqdm.write(f"mobilebert: {message}", file=sys.stderr)


def flush_output() -> None:
    """Writes out what standard output still holds; OSError where that fails, before Python itself meets it."""
    if sys.stdout is not None:
        sys.stdout.flush()

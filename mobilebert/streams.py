"""The standard streams of the command, which whoever starts it may have closed."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import suppress

from tqdm import tqdm

from mobilebert_core.errors import InputError
from mobilebert_core.processes import is_another

_SECONDS = 4.0  # processes start one after the other, and torchrun looks after them ten times a second


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


def let_the_first_say() -> None:
    """In another process than the first of several: waits for what ends it, before it says what went wrong.

    Nearly always the first meets the same, says it and ends, and with it the launcher ends all others. An error that
    this process meets alone is said after the wait.
    """
    if is_another():
        with suppress(KeyboardInterrupt):  # of someone who waits no longer
            time.sleep(_SECONDS)


def say_after_the_first(message: str) -> None:
    """Says what went wrong, of several processes the first one first."""
    let_the_first_say()
    say(message)


def say(message: str) -> None:
    """Prints a message on standard error, if anyone reads it, above a bar that is drawn there."""
    with suppress(OSError):
        tqdm.write(f"mobilebert: {message}", file=sys.stderr)


def flush_output() -> None:
    """Writes out what standard output still holds; OSError where that fails, before Python itself meets it."""
    if sys.stdout is not None:
        sys.stdout.flush()

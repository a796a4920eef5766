"""Commands and SIGTERM, by which batch systems end a job."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mobilebert_core.processes import is_alone


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception."""


def heard_as_process_1() -> None:
    """From now on SIGTERM ends process 1 of a container, for which Linux has no default: it would drop the signal.

    Called before what takes long to import.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if os.getpid() == 1 and in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


@contextmanager
def raised_at_sigterm() -> Iterator[None]:
    """In the block SIGTERM is an exception, so that the command ends as at Ctrl-C and leaves nothing half-written.

    One of several processes that train together dies of it instead: what it waits for may never come.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if not (in_main and is_alone() and handler in (signal.SIG_DFL, _end)):
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """In the block Ctrl-C and SIGTERM end the process at once, for a library in which an exception would wait."""
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if in_main}
    raised = {number: handler for number, handler in handlers.items() if callable(handler)}  # others are ignored
    for number in raised:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in raised.items():
            signal.signal(number, handler)


def _raise(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt what clears up
    raise Terminated


def _end(number: int, frame: Any) -> None:
    if os.getpid() != 1:  # a process that this one started
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os.write(2, b"mobilebert: terminated\n")
    os._exit(128 + number)

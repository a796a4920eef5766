"""Ctrl-C and SIGTERM, which end a training when its step is finished and its state is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self


class Interruption:
    """Inside the block both signals wait until `end` is called, and are then handled as they were before it.

    Only signals that have a handler in Python wait, and only in the main thread. A second Ctrl-C does not wait: a step
    may take long.

    Args:
        waits: False leaves both signals as they are, as ranks need it that save together.
    """

    def __init__(self, waits: bool = True) -> None:
        self._waits = waits
        self._handlers: dict[int, Callable[..., Any]] = {}
        self._pending: int | None = None
        self._at_once = False

    def __enter__(self) -> Self:
        if self._waits and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        if kind is None:
            self.end()

    @property
    def pending(self) -> bool:
        """Whether one of the signals waits."""
        return self._pending is not None

    def end(self, note: str = "") -> None:
        """Handles the signal that waits, if there is one; a KeyboardInterrupt that this raises gets the note."""
        number, self._pending = self._pending, None
        if number is not None:
            try:
                self._handlers[number](number, None)
            except KeyboardInterrupt as e:
                if note:
                    e.add_note(note)
                raise

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In this block signals do not wait."""
        self._at_once = True
        try:
            self.end()
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: Any) -> None:
        if self._at_once or (self.pending and number == signal.SIGINT):
            self._handlers[number](number, frame)
        else:
            self._pending = number

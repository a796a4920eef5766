"""Threads that share one object whose settings belong to a call: equal settings run together, others take turns."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

_made: weakref.WeakSet[Turns] = weakref.WeakSet()


class Turns:
    """Whose turn it is to use an object.

    `apply` brings settings into force; it is called while nobody uses the object, and only when they change.
    """

    def __init__(self, settings: Hashable, apply: Callable[[Any], None]) -> None:
        self._settings: Hashable = settings  # now in force
        self._apply = apply
        self._forget()
        _made.add(self)

    def _forget(self) -> None:
        self._running = 0  # calls that use the object
        self._waiting = 0  # calls that wait until none does: meanwhile no further one begins
        self._lock = threading.Lock()  # entering it costs a quarter of entering the condition
        self._idle = threading.Condition(self._lock)

    def begin(self, settings: Hashable) -> None:
        """Waits until the settings are in force. `end` must follow."""
        with self._lock:
            if settings != self._settings or self._waiting:
                self._wait()
                if settings != self._settings:
                    self._settings = None  # for the case that only some of them can be applied
                    self._apply(settings)
                    self._settings = settings
            self._running += 1

    def end(self) -> None:
        """Ends what `begin` began."""
        with self._lock:
            self._running -= 1
            if not self._running and self._waiting:
                self._idle.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else uses the object."""
        with self._lock:
            self._wait()
            yield

    def _wait(self) -> None:
        while self._running:
            self._waiting += 1
            try:
                self._idle.wait()
            finally:
                self._waiting -= 1


def _forget_in_child() -> None:
    for turns in _made:  # the threads that had a turn are not in the child
        turns._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)

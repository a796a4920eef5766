"""Commands and SIGTERM."""

from __future__ import annotations

import signal
import sys


def end_on_sigterm() -> None:
    """Ends the command at SIGTERM, which batch systems send, as at Ctrl-C: nothing half-written stays."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

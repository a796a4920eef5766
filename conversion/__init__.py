"""Where the two backends meet: parity measured, checkpoints converted, models trained, and the `mobilebert` command.

Importing this package loads no framework; each is imported by the call that needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Conversion": "converting",
    "Inspection": "inspection",
    "Report": "parity.deviation",
    "compare": "parity.deviation",
    "compare_traces": "parity.deviation",
    "convert": "converting",
    "inspect_checkpoint": "inspection",
    "random_checkpoint": "parity.sample",
    "trace": "parity.traces",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

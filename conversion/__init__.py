"""Compares two models and converts a checkpoint into another format. Both backends meet here.

Importing this package loads no framework; each is imported by the call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilebert_core.lazy import lazy_names

if TYPE_CHECKING:
    from .converting import convert as convert
    from .inspection import Inspection as Inspection
    from .inspection import inspect_checkpoint as inspect_checkpoint
    from .parity.deviation import Report as Report
    from .parity.deviation import compare as compare
    from .parity.deviation import compare_traces as compare_traces
    from .parity.sample import random_checkpoint as random_checkpoint
    from .parity.traces import trace as trace
    from .record import Conversion as Conversion

_EXPORTS = {
    "Conversion": ".record",
    "Inspection": ".inspection",
    "Report": ".parity.deviation",
    "compare": ".parity.deviation",
    "compare_traces": ".parity.deviation",
    "convert": ".converting",
    "inspect_checkpoint": ".inspection",
    "random_checkpoint": ".parity.sample",
    "trace": ".parity.traces",
}

__all__ = list(_EXPORTS)

if not TYPE_CHECKING:  # a module-level __getattr__ would give every unknown name the type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)

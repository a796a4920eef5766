"""Answers come from trained weights only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..heads import HEADS


def require_trained(head: str, path: str | Path, loading_info: Mapping[str, Any]) -> None:
    """Raises CheckpointError when weights were newly initialized, as a head does that the checkpoint has not."""
    missing = loading_info["missing_keys"]
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        raise CheckpointError(
            f"{path}: wanted a trained {HEADS[head].class_name}, {shown} missing: answers would come from random "
            "weights. Fine-tune it first, or choose the task that it was trained for."
        )

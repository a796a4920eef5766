"""Settings of a training whose paths may be passed as text."""

from __future__ import annotations

from pathlib import Path


class PathFields:
    """Base of dataclasses with paths: a text becomes a path, and one with a pattern in it the list of that pattern."""

    def __post_init__(self) -> None:
        for name in ("data", "output", "dev", "shards"):
            value = getattr(self, name)
            if isinstance(value, str):  # else its letters would be a sequence of paths
                pattern = name == "data" and any(sign in value for sign in "*?[") and not Path(value).exists()
                object.__setattr__(self, name, [value] if pattern else Path(value))

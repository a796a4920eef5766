"""The models that ship with the package and are loaded by their names, wherever a name or a path is wanted.

Each is a checkpoint like any other; its README.md says from what and how it was trained, and how well it does.
"""

from __future__ import annotations

import os
from pathlib import Path

_DATA = Path(__file__).parent / "data"

# A small general encoder with a masked-language head, a start for fine-tuning: `--model mobilebert-mini`.
MINI_MODEL = _DATA / "mobilebert-mini"

SHIPPED_MODELS: dict[str, Path] = {MINI_MODEL.name: MINI_MODEL}


def shipped(name_or_path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The directory of a model that ships with the package, for its name; anything else is itself."""
    return SHIPPED_MODELS.get(name_or_path, name_or_path) if isinstance(name_or_path, str) else name_or_path

"""Files of arrays that a training keeps: safetensors with the permissions of every other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import numpy as library


def save_file(arrays: Mapping[str, np.ndarray], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes arrays, of whatever layout in memory.

    The library makes files that nobody but their owner reads (0.8), but rows and states are shared.

    Raises:
        SafetensorError: when the disk is full.
    """
    path.touch()
    mode = path.stat().st_mode
    library.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata)
    path.chmod(mode)

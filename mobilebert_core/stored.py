"""What a reader of weights offers, whatever the format of its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

FLOATING = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Stored:
    """A tensor as a file describes it: shape, and dtype in numpy's spelling ("bfloat16" included)."""

    shape: tuple[int, ...]
    dtype: str


class WeightFile(Protocol):
    """A description of every array in a file, and one array at a time."""

    path: Path
    stored: dict[str, Stored]

    def read(self, name: str) -> np.ndarray: ...

"""What a training's curve says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilebert_core.training.run_checks import read_curves


def curve(output: Path) -> np.ndarray:
    """The losses (steps,) of the training in a directory, exact."""
    return np.array([float(row["loss"]) for row in read_curves(output / "curves.csv")])

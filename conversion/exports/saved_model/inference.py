"""Runs an exported SavedModel on numpy arrays, in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from mobilebert_core.errors import CheckpointError, InputError, first_line
from mobilebert_core.exports import SIGNATURE

from ..runner import ExportedRunner


class Runner(ExportedRunner):
    """A SavedModel; `config` is its model's."""

    def open(self, path: Path, threads: int | None) -> None:
        if threads is not None:
            raise InputError(
                "threads: TensorFlow has one number of threads for the whole process; set it with "
                "tf.config.threading before TensorFlow computes anything."
            )
        try:
            self._loaded = tf.saved_model.load(str(path))  # holds the variables that the signature reads
            self._signature = self._loaded.signatures[SIGNATURE]
        except Exception as e:  # a damaged file raises whatever its parts raise
            raise CheckpointError(f"{path}: TensorFlow refuses it ({first_line(e)}). Export the model again.") from None

    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = self._signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: array.numpy() for name, array in outputs.items()}

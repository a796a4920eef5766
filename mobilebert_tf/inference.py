"""Runs a Keras model on numpy arrays, for pipelines.

Twin: mobilebert_torch/inference.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.tasks.trained_head import require_trained

from .graphs import RecordedGraphs
from .heads import MODEL_CLASSES


class Runner:
    """A model as a recorded graph of any batch size and length; `config` is the model's."""

    def __init__(self, model: Any, device: Any = None) -> None:
        if device is not None:
            raise InputError(f"Runner: device is for PyTorch; Keras places its models itself, got {device!r}.")
        self.model = model
        self.config = model.config
        self._graphs = RecordedGraphs(self._outputs, model)

    @classmethod
    def from_pretrained(cls, head: str, path: str | Path, *, device: Any = None, **kwargs: Any) -> Self:
        """Loads a head, by its name in the table, as the model's own `from_pretrained` does.

        Raises:
            CheckpointError: also when the checkpoint has no such head, which would be newly initialized.
        """
        model, info = MODEL_CLASSES[head].from_pretrained(path, output_loading_info=True, **kwargs)
        require_trained(head, path, info)
        return cls(model, device)

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, in float32 where the model computes in less."""
        outputs = {n: keras.ops.convert_to_numpy(v) for n, v in self._graphs(batch).items()}
        return {n: v if v.dtype in (np.float32, np.float64) else v.astype(np.float32) for n, v in outputs.items()}

    def _outputs(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        outputs = self.model(batch, training=False, return_dict=True)
        return {name: value for name, value in outputs.items() if not isinstance(value, tuple)}

"""Runs a PyTorch model on numpy arrays, for pipelines.

Twin: mobilebert_tf/inference.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mobilebert_core.errors import InputError, first_line
from mobilebert_core.tasks.trained_head import require_trained

from .heads import MODEL_CLASSES
from .wide import widened


def device_of(name: Any = None) -> torch.device:
    """The device of a name; without one the GPU if there is one.

    Raises:
        InputError: for a device that PyTorch does not have here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
        device = torch.device(name)
    except (RuntimeError, AssertionError, TypeError, ImportError) as e:  # as PyTorch says it for each kind of device
        said = first_line(e).partition(". ")[0]  # of operators another sentence lists every backend
        raise InputError(f"device: wanted one that PyTorch has here, such as cpu, got {name!r} ({said}).") from None
    if device.type == "meta":
        raise InputError("device: wanted one that computes, such as cpu, got 'meta', where tensors have no values.")
    return device


class Runner:
    """A model in evaluation mode on one device; `config` is the model's.

    Attributes:
        without_gradients: makes the context in which the model computes.
    """

    without_gradients: Callable[[], Any] = staticmethod(torch.inference_mode)

    def __init__(self, model: Any, device: Any = None) -> None:
        self.device = device_of(device)
        self.model = model.eval().to(self.device)
        self.config = model.config

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
        with self.without_gradients():
            outputs = self.model(**{n: torch.from_numpy(a).to(self.device) for n, a in batch.items()}, return_dict=True)
        return {n: widened(v).cpu().numpy() for n, v in outputs.items() if isinstance(v, torch.Tensor)}

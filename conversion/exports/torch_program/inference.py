"""Runs a program of `torch.export` on numpy arrays, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mobilebert_core.errors import CheckpointError, InputError, first_line

from ..runner import ExportedRunner


class Runner(ExportedRunner):
    """A .pt2 file; `config` is its model's."""

    def open(self, path: Path, threads: int | None) -> None:
        if threads is not None:
            raise InputError(
                "threads: PyTorch has one number of threads for the whole process; set it with "
                "torch.set_num_threads, or OMP_NUM_THREADS in the environment."
            )
        try:
            self.module = torch.export.load(path).module()
        except Exception as e:  # a damaged archive raises whatever its parts raise
            raise CheckpointError(f"{path}: PyTorch refuses it ({first_line(e)}). Export the model again.") from None

    @torch.inference_mode()
    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        arrays = (torch.from_numpy(inputs[name]) for name in self.record.inputs.values())
        outputs = self.module(*arrays)
        return {name: array.numpy() for name, array in zip(self.record.outputs, outputs, strict=True)}

"""Runs an exported ExecuTorch program on numpy arrays, in ExecuTorch's Python runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime

from mobilebert_core.errors import CheckpointError, InputError, first_line

from ..runner import ExportedRunner


class Runner(ExportedRunner):
    """A .pte file; `config` is its model's."""

    def open(self, path: Path, threads: int | None) -> None:
        if threads is not None:
            raise InputError("threads: ExecuTorch chooses the number of threads itself. Leave it out.")
        try:
            self.program = Runtime.get().load_program(path)  # the method reads from it
            self.method = self.program.load_method("forward")
        except Exception as e:  # its errors share no class of their own
            raise CheckpointError(f"{path}: ExecuTorch refuses it ({first_line(e)}). Export the model again.") from None
        if self.method is None:
            raise CheckpointError(f"{path}: ExecuTorch finds no method 'forward' in it. Export the model again.")

    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        tensors = [torch.from_numpy(inputs[name]) for name in self.record.inputs.values()]
        outputs = self.method.execute(tensors)
        # The next call writes into the same memory.
        return {name: array.numpy().copy() for name, array in zip(self.record.outputs, outputs, strict=True)}

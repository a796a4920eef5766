"""Runs an exported ONNX file on numpy arrays, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from mobilebert_core.errors import CheckpointError, first_line

from ..runner import ExportedRunner


class Runner(ExportedRunner):
    """An ONNX file; `config` is its model's."""

    def open(self, path: Path, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # warnings are about the graph's own making
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # its errors share no class of their own
            raise CheckpointError(
                f"{path}: ONNX Runtime refuses it ({first_line(e)}). Export the model again."
            ) from None

    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        names = self.record.outputs
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))

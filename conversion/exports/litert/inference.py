"""Runs an exported LiteRT file on numpy arrays, in LiteRT's interpreter with XNNPACK."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mobilebert_core.errors import CheckpointError, first_line

from ..runner import ExportedRunner

_MADE_FLOAT = "_dequant"  # what the quantizer adds to the name of an output that it turns back into floats


class Runner(ExportedRunner):
    """A LiteRT file; `config` is its model's. Threads may share it: they take turns."""

    def open(self, path: Path, threads: int | None) -> None:
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
            self._inputs = {each["name"]: each["index"] for each in self._interpreter.get_input_details()}
            details = self._interpreter.get_output_details()
            self._outputs = {each["name"].removesuffix(_MADE_FLOAT): each["index"] for each in details}
        except (ValueError, RuntimeError) as e:
            raise CheckpointError(f"{path}: LiteRT refuses it ({first_line(e)}). Export the model again.") from None
        self._shape: tuple[int, ...] | None = None
        self._turn = threading.Lock()

    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        with self._turn:
            shape = next(iter(inputs.values())).shape
            if shape != self._shape:
                self._shape = None  # until all are resized
                for name in inputs:
                    self._interpreter.resize_tensor_input(self._inputs[name], shape)
                self._interpreter.allocate_tensors()
                self._shape = shape
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._inputs[name], array)
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}

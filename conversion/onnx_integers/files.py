"""A written ONNX file of floats, rewritten in the integers that its export asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from mobilebert_core.exports import ExportSpec

from . import dynamic, static


def rewrite(path: Path, spec: ExportSpec, matrices: Callable[[], Mapping[str, np.ndarray]]) -> None:
    """Replaces the file by the one in the precision of the spec: "int8", "int8-static" or "int8x16".

    Args:
        matrices: gives those of the model's dense layers by place, (out, in), by which its learned ranges are found.

    Raises:
        ConfigError: for batches of calibration that do not show what every activation takes for values.
    """
    model = onnx.load(path)
    if spec.precision == "int8":
        model = dynamic.quantized(model, _sized(spec))
    elif spec.ranges:
        learned = {static.weight_key(m): spec.ranges[place] for place, m in matrices().items() if place in spec.ranges}
        model = static.quantized(model, learned=learned)
    else:
        model = static.quantized(model, _sized(spec), bits=16 if spec.precision == "int8x16" else 8)
    onnx.save(model, path)


def _sized(spec: ExportSpec) -> Iterator[dict[str, np.ndarray]]:
    """The batches of calibration by the names in the file, in the sizes that it has fixed; what is added is masked."""
    for batch in spec.calibration:
        rows = len(batch["input_ids"])
        size = spec.batch or rows
        for start in range(0, rows, size):
            yield {
                name: _filled(batch[ours][start : start + size], size, spec.length).astype(spec.input_dtype)
                for ours, name in spec.inputs.items()
            }


def _filled(array: np.ndarray, rows: int, length: int | None) -> np.ndarray:
    """(b, ..., s) -> (rows, ..., length), with zeros at the end."""
    widths = [(0, 0)] * array.ndim
    widths[0] = (0, rows - len(array))
    widths[-1] = (0, 0 if length is None else length - array.shape[-1])
    return np.pad(array, widths)

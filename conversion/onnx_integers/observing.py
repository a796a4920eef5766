"""What activations of a graph of floats take for values on real texts, run in ONNX Runtime. B batch, S sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from onnx import TensorProto, helper

from .graph import Graph

Batch = Mapping[str, np.ndarray]
_MASKS = ("attention_mask", "input_mask")  # ours, and MLPerf Mobile's


def observed(graph: Graph, names: Sequence[str], batches: Iterable[Batch]) -> Iterator[tuple[str, np.ndarray]]:
    """The values of activations by name, once for each batch; of tokens that are masked there are none."""
    import onnxruntime

    model = graph.model()
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for batch in batches:
        mask = next((np.asarray(batch[name]) >= 1 for name in _MASKS if name in batch), None)
        for name, array in zip(names, session.run(names, dict(batch)), strict=True):
            tokens = mask is not None and array.ndim == 3 and array.shape[:2] == mask.shape
            yield name, array[mask] if tokens else array

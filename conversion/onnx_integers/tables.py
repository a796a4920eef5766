"""Embeddings of 8 bits in an ONNX graph: rows are looked up as integers and scaled, so that no table becomes floats."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from mobilebert_core.quantization.integers import as_int8, row_scales

from .graph import Graph

_SMALLEST = 1 << 14  # numbers of a table that is worth it


def quantize_tables(graph: Graph) -> None:
    """Turns every table (rows, width) that Gather or Slice reads rows of."""
    readers = graph.readers()
    replaced: dict[int, list[NodeProto]] = {}
    for name, table in list(graph.constants.items()):
        if table.ndim != 2 or table.dtype != np.float32 or table.size < _SMALLEST:
            continue
        looking = [node for node in readers.get(name, []) if node.op_type in ("Gather", "Slice")]
        if not looking or any(node.input[0] != name for node in looking):
            continue
        scales = row_scales(table)
        integers = graph.constant(f"{name}.rows", as_int8(table, scales))
        factors = graph.constant(f"{name}.scales", scales[:, None])
        for node in looking:
            options = {each.name: each.i for each in node.attribute}
            rows, scale = (graph.node(node.op_type, [t, *node.input[1:]], **options) for t in (integers, factors))
            floats = graph.node("Cast", [rows.output[0]], to=TensorProto.FLOAT)
            product = graph.node("Mul", [floats.output[0], scale.output[0]], node.output[0])
            replaced[id(node)] = [rows, scale, floats, product]
    graph.replace(replaced)

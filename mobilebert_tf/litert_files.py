"""LiteRT files as objects of their schema, and what their converter leaves to do. No framework is imported.

The converter sorts inputs and outputs by name and calls them after its graph. In a finished file they have the order
and the names that the model has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def read_flatbuffer(content: bytes) -> Any:
    """A file as objects of LiteRT's schema."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def operations(model: Any) -> list[tuple[str, Any]]:
    """The operators of a file in their order, each with its name, such as "FULLY_CONNECTED"."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
    codes = model.operatorCodes
    return [(names[codes[each.opcodeIndex].builtinCode], each) for each in model.subgraphs[0].operators]


def finished_file(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """A converted file with inputs and outputs in this order and under these names, and its tables as embeddings."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = read_flatbuffer(content)
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    for field, names in (("inputs", inputs), ("outputs", outputs)):
        found = {entry.name.decode(): entry.tensorIndex for entry in getattr(signature, field)}
        indices = [found[name] for name in names]
        for name, index in zip(names, indices, strict=True):
            graph.tensors[index].name = name.encode()
        setattr(graph, field, np.asarray(indices, np.int32))
    _look_up_tables(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _look_up_tables(model: Any) -> None:
    """Gathering whole rows of a constant table, by ids in one axis, becomes EMBEDDING_LOOKUP: there is one of int8."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    lookup = schema.OperatorCodeT()
    lookup.builtinCode = lookup.deprecatedBuiltinCode = schema.BuiltinOperator.EMBEDDING_LOOKUP
    lookup.version = 1
    index = len(model.operatorCodes)
    for name, operator in operations(model):
        if name != "GATHER" or operator.builtinOptions.axis or operator.builtinOptions.batchDims:
            continue
        table, ids = (graph.tensors[i] for i in operator.inputs)
        constant = model.buffers[table.buffer].data is not None
        if constant and table.type == schema.TensorType.FLOAT32 and (len(table.shape), len(ids.shape)) == (2, 1):
            operator.opcodeIndex = index
            operator.inputs = np.asarray(operator.inputs[::-1], np.int32)
            operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.NONE, None
    if any(operator.opcodeIndex == index for operator in graph.operators):
        model.operatorCodes.append(lookup)

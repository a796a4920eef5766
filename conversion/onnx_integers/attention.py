"""The scores of attention in an ONNX graph, written with fewer nodes than PyTorch's exporter writes.

The exporter scales queries and keys each by the root of 1 / sqrt(D), and turns the keys by way of three axes. Here the
scale lies in the weights of the query, and one Transpose turns the keys.

B batch, S sequence, N heads, D head size.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from .graph import Graph, attributes
from .products import Product, products, write_product


def simplify_scores(graph: Graph) -> None:
    """Rewrites every product of scores that has the exporter's form; others stay as they are."""
    writers, readers = graph.writers(), graph.readers()
    dense = {product.y: product for product in products(graph)}
    replaced: dict[int, list[NodeProto]] = {}
    for node in graph.nodes:
        if node.op_type != "MatMul":
            continue
        sides = [_scaled(graph, writers.get(name)) for name in node.input]
        if any(side is None for side in sides):
            continue
        (query, one), (key, other) = [side for side in sides if side is not None]
        turned, source = _turned_keys(writers, key), _projection(writers, query)
        product = dense.get(source or "")
        if turned is None or product is None or len(readers[product.y]) != 1:
            continue
        factor = one * other
        bias = None if product.bias is None else product.bias * factor
        scaled = Product(product.x, product.y, product.weight * factor, bias, product.nodes)
        write_product(graph, scaled, replaced)
        keys = graph.node("Transpose", [turned], perm=[0, 2, 3, 1])
        replaced[id(node)] = [keys, graph.node("MatMul", [query, keys.output[0]], node.output[0])]
    graph.replace(replaced)
    graph.drop_unread()


def _scaled(graph: Graph, node: NodeProto | None) -> tuple[str, np.float32] | None:
    """The array that a node multiplies by one constant number, and that number."""
    if node is None or node.op_type != "Mul":
        return None
    factor = graph.constants.get(node.input[1])
    return None if factor is None or factor.size != 1 else (node.input[0], np.float32(factor.item()))


def _turned_keys(writers: dict[str, NodeProto], name: str) -> str | None:
    """From (B, N, D, S) back to the array (B, S, N, D) that it was made of."""
    for op, perm in (("Reshape", None), ("Transpose", [0, 2, 1]), ("Reshape", None), ("Transpose", [0, 2, 1, 3])):
        node = writers.get(name)
        if node is None or node.op_type != op or (perm is not None and attributes(node).get("perm") != perm):
            return None
        name = node.input[0]
    return name


def _projection(writers: dict[str, NodeProto], name: str) -> str | None:
    """The output of the dense layer that queries (B, N, S, D) were split from."""
    for op in ("Transpose", "Reshape"):
        node = writers.get(name)
        if node is None or node.op_type != op:
            return None
        name = node.input[0]
    return name

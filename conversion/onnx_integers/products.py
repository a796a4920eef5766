"""Dense layers in an ONNX graph: found as products with a constant matrix, and joined where they read the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from mobilebert_core.quantization.integers import as_int8, weight_scales
from mobilebert_core.quantization.rounding import Moments, rounded

from .graph import Graph, attributes

_SMALL_HEAD = 1 << 17  # weights: 256 labels of a model with 512 features


@dataclass
class Product:
    """y = x @ weight + bias.

    Attributes:
        x, y: names of its input and output.
        weight: (out, in), as PyTorch has it.
        bias: (out,), or None.
        nodes: that it is made of, the first in the graph's order first.
    """

    x: str
    y: str
    weight: np.ndarray
    bias: np.ndarray | None
    nodes: list[NodeProto]


def products(graph: Graph) -> list[Product]:
    """Every product of an activation and a constant matrix, with the bias after it, in the graph's order."""
    readers = graph.readers()
    return [product for node in graph.nodes for product in _product(graph, readers, node)]


def _product(graph: Graph, readers: dict[str, list[NodeProto]], node: NodeProto) -> Iterator[Product]:
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] in graph.constants:
        return
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
        return
    if node.op_type == "Gemm":
        options = attributes(node)
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        bias = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if plain and (len(node.input) < 3 or (bias is not None and bias.ndim == 1)):
            yield Product(node.input[0], node.output[0], weight if options.get("transB", 0) else weight.T, bias, [node])
        return
    followers = readers.get(node.output[0], [])
    if len(followers) == 1 and followers[0].op_type == "Add" and node.output[0] not in graph.outputs:
        add = followers[0]
        other = add.input[1] if add.input[0] == node.output[0] else add.input[0]
        bias = graph.constants.get(other)
        if bias is not None and bias.shape == (weight.shape[1],):
            yield Product(node.input[0], add.output[0], weight.T, bias, [node, add])
            return
    yield Product(node.input[0], node.output[0], weight.T, None, [node])


def write_product(graph: Graph, product: Product, replaced: dict[int, list[NodeProto]]) -> None:
    """Writes a product as one MatMul, and one Add where it has a bias, in the place of its nodes."""
    hint = product.nodes[0].name
    weight = graph.constant(f"{hint}.weight", product.weight.T.copy())
    if product.bias is None:
        new = [graph.node("MatMul", [product.x, weight], product.y)]
    else:
        first = graph.node("MatMul", [product.x, weight])
        new = [first, graph.node("Add", [first.output[0], graph.constant(f"{hint}.bias", product.bias)], product.y)]
    put(product, new, replaced)


def integer_products(graph: Graph) -> list[Product]:
    """The products that become integers: all but a small last one, which costs nothing and whose errors nobody evens
    out."""
    return [p for p in products(graph) if p.y not in graph.outputs or p.weight.size > _SMALL_HEAD]


@dataclass
class Integers:
    """A product in integers: y = x @ (scales * weight) + bias, with weight int8 (out, in) and scales (out,)."""

    weight: np.ndarray
    scales: np.ndarray
    bias: np.ndarray | None


def integers_of(product: Product, moments: Moments | None = None) -> Integers:
    """A product's integers: those nearest to its weights, or with moments of its input those of the least error."""
    scales = weight_scales(product.weight)
    if moments is None or not moments.count:
        return Integers(as_int8(product.weight, scales), scales, product.bias)
    weight = rounded(product.weight, scales, moments.covariance)
    lost = (product.weight - scales[:, None] * weight.astype(np.float64)) @ moments.mean
    return Integers(weight, scales, (lost if product.bias is None else product.bias + lost).astype(np.float32))


def put(product: Product, new: list[NodeProto], replaced: dict[int, list[NodeProto]]) -> None:
    """Notes that nodes take the place of a product's."""
    first, *rest = product.nodes
    replaced[id(first)] = new
    for node in rest:
        replaced[id(node)] = []


def join_readers(graph: Graph) -> None:
    """Dense layers with a bias that read the same activation become one, whose output is split."""
    groups: dict[str, list[Product]] = defaultdict(list)
    for product in products(graph):
        if product.bias is not None:
            groups[product.x].append(product)
    replaced: dict[int, list[NodeProto]] = {}
    for x, group in groups.items():
        if len(group) < 2:
            continue
        weight = np.concatenate([each.weight for each in group])
        bias = np.concatenate([each.bias for each in group if each.bias is not None])
        joined = graph.name("joined")
        write_product(graph, Product(x, joined, weight, bias, group[0].nodes), replaced)
        sizes = graph.constant("sizes", np.array([len(each.weight) for each in group], np.int64))
        split = graph.node("Split", [joined, sizes], axis=-1)
        del split.output[:]
        split.output.extend(each.y for each in group)
        replaced[id(group[0].nodes[0])].append(split)
        for other in group[1:]:
            put(other, [], replaced)
    graph.replace(replaced)

"""Dynamic int8: weights are integers, and each activation is scaled by its own range while the graph runs.

The operators are ONNX's own, in the order in which ONNX Runtime makes one of them: DynamicQuantizeLinear,
MatMulInteger, the scales and the bias become DynamicQuantizeMatMul or MatMulIntegerToFloat.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto, TensorProto

from mobilebert_core.quantization.integers import as_int8, weight_scales

from .attention import simplify_scores
from .graph import Graph
from .products import Product, integer_products, join_readers, put
from .tables import quantize_tables


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph of floats with its dense layers and embeddings in 8 bits. Inputs and outputs stay as they are.

    Attention's own products, sums, norms and the softmax stay floats.
    """
    graph = Graph(model)
    simplify_scores(graph)
    join_readers(graph)
    quantize_tables(graph)
    replaced: dict[int, list[NodeProto]] = {}
    activations: dict[str, NodeProto] = {}
    for product in integer_products(graph):
        put(product, _integer_product(graph, product, activations), replaced)
    graph.replace(replaced)
    return graph.model()


def _integer_product(graph: Graph, product: Product, activations: dict[str, NodeProto]) -> list[NodeProto]:
    """The nodes of a product; the first that reads an activation also quantizes it."""
    new: list[NodeProto] = []
    if product.x not in activations:
        activations[product.x] = graph.node("DynamicQuantizeLinear", [product.x], count=3)
        new.append(activations[product.x])
    x, x_scale, x_zero = activations[product.x].output
    scales = weight_scales(product.weight)
    hint = product.nodes[0].name
    weight = graph.constant(f"{hint}.weight", as_int8(product.weight, scales).T.copy())
    total = graph.node("MatMulInteger", [x, weight, x_zero])
    floats = graph.node("Cast", [total.output[0]], to=TensorProto.FLOAT)
    factor = graph.node("Mul", [x_scale, graph.constant(f"{hint}.scales", scales)])
    last = [floats.output[0], factor.output[0]]
    if product.bias is None:
        return [*new, total, floats, factor, graph.node("Mul", last, product.y)]
    scaled = graph.node("Mul", last)
    bias = graph.constant(f"{hint}.bias", product.bias)
    return [*new, total, floats, factor, scaled, graph.node("Add", [scaled.output[0], bias], product.y)]

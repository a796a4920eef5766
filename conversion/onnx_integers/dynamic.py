"""Dynamic int8: weights are integers, and each activation is scaled by its own range while the graph runs.

The operators are ONNX's own, in the order in which ONNX Runtime makes one of them: DynamicQuantizeLinear,
MatMulInteger, the scales and the bias become DynamicQuantizeMatMul or MatMulIntegerToFloat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import onnx
from onnx import NodeProto, TensorProto

from mobilebert_core.quantization.rounding import Moments

from .attention import join_attention, simplify_scores
from .graph import Graph
from .observing import Batch, observed
from .products import Integers, Product, integer_products, integers_of, join_readers, put
from .tables import quantize_tables


def quantized(model: onnx.ModelProto, batches: Iterable[Batch] = ()) -> onnx.ModelProto:
    """A graph of floats with its dense layers and embeddings in 8 bits. Inputs and outputs stay as they are.

    Attention, sums and norms stay floats; attention becomes the operator of that name.

    Args:
        batches: inputs by the names in the file, of texts on whose activations the weights are rounded; without any
            each weight goes to its nearest integer.
    """
    graph = Graph(model)
    simplify_scores(graph)
    join_attention(graph)
    join_readers(graph)
    moments: dict[str, Moments] = defaultdict(Moments)
    names = list(dict.fromkeys(product.x for product in integer_products(graph)))
    for name, values in observed(graph, names, batches):
        moments[name].add(values.reshape(-1, values.shape[-1]))
    quantize_tables(graph)
    replaced: dict[int, list[NodeProto]] = {}
    activations: dict[str, NodeProto] = {}
    for product in integer_products(graph):
        integers = integers_of(product, moments.get(product.x))
        put(product, _integer_product(graph, product, integers, activations), replaced)
    graph.replace(replaced)
    return graph.model()


def _integer_product(
    graph: Graph, product: Product, integers: Integers, activations: dict[str, NodeProto]
) -> list[NodeProto]:
    """The nodes of a product; the first that reads an activation also quantizes it."""
    new: list[NodeProto] = []
    if product.x not in activations:
        activations[product.x] = graph.node("DynamicQuantizeLinear", [product.x], count=3)
        new.append(activations[product.x])
    x, x_scale, x_zero = activations[product.x].output
    hint = product.nodes[0].name
    weight = graph.constant(f"{hint}.weight", integers.weight.T.copy())
    total = graph.node("MatMulInteger", [x, weight, x_zero])
    floats = graph.node("Cast", [total.output[0]], to=TensorProto.FLOAT)
    factor = graph.node("Mul", [x_scale, graph.constant(f"{hint}.scales", integers.scales)])
    last = [floats.output[0], factor.output[0]]
    if integers.bias is None:
        return [*new, total, floats, factor, graph.node("Mul", last, product.y)]
    scaled = graph.node("Mul", last)
    bias = graph.constant(f"{hint}.bias", integers.bias)
    return [*new, total, floats, factor, scaled, graph.node("Add", [scaled.output[0], bias], product.y)]

"""Static int8 and 8x16: the ranges of activations come from calibration, or from a training that simulated them.

The graph says with QuantizeLinear and DequantizeLinear where integers are; runtimes and compilers for phones make
integer operators of it. Weights are symmetric with a scale for each output, activations asymmetric, biases int32 with
the scale of the product. Sums, norms and the softmax stay floats between them: they are cheap, and the sums need more
than 8 bits. B batch, S sequence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto

from mobilebert_core.errors import ConfigError
from mobilebert_core.quantization.histograms import Histogram
from mobilebert_core.quantization.integers import activation_scale
from mobilebert_core.quantization.rounding import Moments

from .attention import simplify_scores
from .graph import Graph
from .observing import Batch, observed
from .products import Product, integer_products, integers_of, join_readers, products, put
from .tables import quantize_tables

Range = tuple[float, float]
LEVELS = {8: 256, 16: 65536}
_TYPES = {8: np.uint8, 16: np.uint16}
_HEADROOM = 2.0  # with 16 bits: one is given for texts whose values lie beyond those of calibration


def quantized(
    model: onnx.ModelProto,
    batches: Iterable[Batch] = (),
    *,
    bits: int = 8,
    method: str = "squared_error",
    learned: Mapping[bytes, Range] | None = None,
) -> onnx.ModelProto:
    """A graph of floats with its dense layers, attention and embeddings in integers. Inputs and outputs stay floats.

    Args:
        batches: inputs by the names in the file, of real texts; ranges are those of what the graph computes on them.
        bits: of activations, 8 or 16; weights have 8.
        method: how ranges of 8 bits are chosen; see `mobilebert_core.quantization.histograms`.
        learned: ranges that a training simulated, by `weight_key` of the dense layer that reads the activation. These
            are taken as they are; attention and layers without one, which the training did not simulate, stay floats.

    Raises:
        ConfigError: when neither batches nor learned ranges say what an activation takes for values.
    """
    graph = Graph(model)
    ranges = _learned_ranges(graph, learned) if learned is not None else {}
    simplify_scores(graph)
    join_readers(graph)
    dense = integer_products(graph)
    if learned is not None:
        dense = [product for product in dense if product.x in ranges]
    attention = [] if learned is not None else _attention_products(graph, dense)
    wanted = dict.fromkeys([*(p.x for p in dense), *(name for node in attention for name in node.input)])
    missing = [name for name in wanted if name not in ranges]
    moments: dict[str, Moments] = {}
    if missing:
        found, moments = _observed(graph, missing, {product.x for product in dense}, batches, bits, method)
        ranges |= found
    quantize_tables(graph)
    writer = _Writer(graph, ranges, moments, bits)
    replaced: dict[int, list[NodeProto]] = {}
    of_product = {id(product.nodes[0]): product for product in dense}
    of_attention = {id(node) for node in attention}
    for node in graph.nodes:  # in this order, so that an activation is rounded before its first reader
        if id(node) in of_product:
            put(of_product[id(node)], writer.product(of_product[id(node)]), replaced)
        elif id(node) in of_attention:
            replaced[id(node)] = writer.attention(node)
    graph.replace(replaced)
    return graph.model()


def weight_key(weight: np.ndarray) -> bytes:
    """By what a dense layer is found in a graph: its matrix (out, in) in float32."""
    return np.ascontiguousarray(weight, np.float32).tobytes()


@dataclass
class _Writer:
    graph: Graph
    ranges: Mapping[str, Range]
    moments: Mapping[str, Moments]
    bits: int

    def __post_init__(self) -> None:
        self._activations: dict[str, tuple[str, np.float32]] = {}

    def activation(self, name: str, new: list[NodeProto]) -> tuple[str, np.float32]:
        """The name of an activation after its rounding, and its scale; the nodes that round it are written once."""
        if name not in self._activations:
            scale, zero = activation_scale(*self.ranges[name], LEVELS[self.bits])
            pair = [
                self.graph.constant(f"{name}.scale", scale),
                self.graph.constant(f"{name}.zero", np.array(zero, _TYPES[self.bits])),
            ]
            integers = self.graph.node("QuantizeLinear", [name, *pair])
            floats = self.graph.node("DequantizeLinear", [integers.output[0], *pair])
            new += [integers, floats]
            self._activations[name] = floats.output[0], scale
        return self._activations[name]

    def product(self, product: Product) -> list[NodeProto]:
        new: list[NodeProto] = []
        x, x_scale = self.activation(product.x, new)
        hint, graph, found = product.nodes[0].name, self.graph, integers_of(product, self.moments.get(product.x))
        integers = graph.constant(f"{hint}.weight", found.weight.T.copy())
        zeros = graph.constant(f"{hint}.zero", np.zeros(len(found.scales), np.int8))
        scales = graph.constant(f"{hint}.scales", found.scales)
        weight = graph.node("DequantizeLinear", [integers, scales, zeros], axis=1)
        new.append(weight)
        if found.bias is None:
            return [*new, graph.node("MatMul", [x, weight.output[0]], product.y)]
        total = graph.node("MatMul", [x, weight.output[0]])
        bias = self._bias(hint, found.bias, x_scale * found.scales)
        return [*new, total, bias, graph.node("Add", [total.output[0], bias.output[0]], product.y)]

    def _bias(self, hint: str, bias: np.ndarray, scales: np.ndarray) -> NodeProto:
        limit = 2**31 - 1
        integers = np.clip(np.round(bias.astype(np.float64) / scales), -limit, limit).astype(np.int32)
        pair = [self.graph.constant(f"{hint}.bias", integers), self.graph.constant(f"{hint}.bias.scales", scales)]
        return self.graph.node("DequantizeLinear", pair, axis=0)

    def attention(self, node: NodeProto) -> list[NodeProto]:
        new: list[NodeProto] = []
        inputs = [self.activation(name, new)[0] for name in node.input]
        return [*new, self.graph.node("MatMul", inputs, node.output[0])]


def _learned_ranges(graph: Graph, learned: Mapping[bytes, Range]) -> dict[str, Range]:
    """The ranges by the name of the activation; layers that read the same one have learned the same."""
    found = ((product.x, learned.get(weight_key(product.weight))) for product in products(graph))
    return {name: range for name, range in found if range is not None}


def _attention_products(graph: Graph, dense: list[Product]) -> list[NodeProto]:
    known = {id(node) for product in dense for node in product.nodes}
    matrices = (node for node in graph.nodes if node.op_type == "MatMul" and id(node) not in known)
    return [node for node in matrices if not any(name in graph.constants for name in node.input)]


def _observed(
    graph: Graph, names: list[str], dense: set[str], batches: Iterable[Batch], bits: int, method: str
) -> tuple[dict[str, Range], dict[str, Moments]]:
    """The ranges of activations, and the moments of those that dense layers read."""
    histograms = {name: Histogram() for name in names}
    moments: dict[str, Moments] = defaultdict(Moments)
    for name, values in observed(graph, names, batches):
        histograms[name].add(values)
        if name in dense:
            moments[name].add(values.reshape(-1, values.shape[-1]))
    unseen = [name for name, each in histograms.items() if not each.counts.any()]
    if unseen:
        raise ConfigError(
            f"static int8: no text showed what {len(unseen)} activations take for values, the first {unseen[0]}. Pass "
            "batches of real texts."
        )
    if bits == 16:
        return {name: (_HEADROOM * each.low, _HEADROOM * each.high) for name, each in histograms.items()}, moments
    return {name: each.range(method, LEVELS[bits]) for name, each in histograms.items()}, moments

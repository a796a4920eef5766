"""ONNX graphs of integers: they are ONNX, they compute what the graph of floats does, and no processor overflows."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from conversion.onnx_integers import dynamic, static
from conversion.onnx_integers.graph import Graph
from mobilebert_core.errors import ConfigError
from mobilebert_core.quantization.integers import activation_scale, as_int8, row_scales, weight_scales
from tests.tiny import tiny_batch, tiny_config

SIZES = {"vocab_size": 997, "num_hidden_layers": 1, "num_labels": 5}


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids, return_dict=True)["logits"]


@pytest.fixture(scope="module")
def exported():
    """A graph of floats by PyTorch's exporter, of a model folded by "block"."""
    from mobilebert_torch import MobileBertForTokenClassification, fold

    config = tiny_config(**SIZES)
    torch.manual_seed(0)
    model = MobileBertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    batch = tiny_batch(config, "TokenClassification", labels=False)
    example = tuple(torch.as_tensor(batch[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))
    shapes = tuple({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for _ in example)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Logits(fold(model, "block")).eval(), example, input_names=list(batch), output_names=["logits"],
            dynamic_shapes=shapes, opset_version=21, dynamo=True, verbose=False,
        )  # fmt: skip
    return program.model_proto


def batches():
    config, sizes = tiny_config(**SIZES), ((3, 11), (2, 17), (4, 9))
    return [tiny_batch(config, "TokenClassification", *size, labels=False, seed=s) for s, size in enumerate(sizes)]


def run(model, batch):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, batch)[0]


def deviation(model, exported):
    """The largest difference on texts that calibration did not see, as a share of the largest output."""
    batch = tiny_batch(tiny_config(**SIZES), "TokenClassification", 5, 23, labels=False, seed=7)
    wanted, got = run(exported, batch), run(model, batch)
    assert got.dtype == np.float32 and got.shape == wanted.shape
    return np.abs(wanted - got).max() / np.abs(wanted).max()


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_dynamic_integers_are_close_to_floats(exported):
    model = dynamic.quantized(exported)
    onnx.checker.check_model(model, full_check=True)
    assert 1e-6 < deviation(model, exported) < 0.06
    assert {each.domain for each in model.opset_import} == {""}
    found = operators(model)
    # Embeddings; the three readers of the block's input, query and key; output, 2 * 2, and back: 9. In floats the head
    # and attention, which is one operator.
    assert found.count("MatMulInteger") == 9 and found.count("MatMul") + found.count("Gemm") == 1
    assert found.count("Attention") == 1 and "Softmax" not in found
    assert found.count("DynamicQuantizeLinear") == 9
    floats = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT]
    assert max(np.prod(each.dims) for each in floats) < 2000  # the table of positions


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.06), (16, 0.05)])
def test_static_integers_are_close_to_floats(exported, bits, limit):
    model = static.quantized(exported, batches(), bits=bits)
    onnx.checker.check_model(model, full_check=True)
    assert 1e-6 < deviation(model, exported) < limit
    kinds = {each.data_type for each in model.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.INT32} < kinds
    assert (onnx.TensorProto.UINT16 in kinds) == (bits == 16)


def test_texts_make_dynamic_weights_better(exported):
    plain, fitted = dynamic.quantized(exported), dynamic.quantized(exported, batches())
    assert operators(fitted).count("MatMulInteger") == operators(plain).count("MatMulInteger")
    assert deviation(fitted, exported) < 0.8 * deviation(plain, exported)


def test_static_needs_texts(exported):
    with pytest.raises(ConfigError, match="no text showed what"):
        static.quantized(exported, [])


def test_what_is_exported_stays_as_it_is(exported):
    before = exported.SerializeToString()
    dynamic.quantized(exported)
    static.quantized(exported, batches()[:1])
    assert exported.SerializeToString() == before


def test_ranges_that_were_learned_are_taken_as_they_are(exported):
    from conversion.onnx_integers.products import products

    dense = products(Graph(exported))
    learned = {static.weight_key(product.weight): (-2.0, 3.0 + place) for place, product in enumerate(dense)}
    model = static.quantized(exported, learned=learned)
    found = Graph(model)
    scales = {float(found.constants[n.input[1]]) for n in found.nodes if n.op_type == "QuantizeLinear"}
    assert scales <= {np.float32((5.0 + place) / 255) for place in range(len(dense))} and len(scales) > 5


def test_no_pair_of_products_overflows_sixteen_bits():
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (32, 65)) * rng.uniform(0.01, 100, (32, 1))
    scales = weight_scales(weight)
    integers = as_int8(weight, scales)
    padded = np.pad(integers.astype(int), ((0, 0), (0, 1))).reshape(32, -1, 2)
    for sign in (1, -1):
        assert (255 * np.maximum(sign * padded, 0).sum(-1)).max() <= 2**15 - 1
    assert np.abs(integers * scales[:, None] - weight).max(1) == pytest.approx(scales / 2, rel=0.1)
    # The same in ONNX Runtime, on any processor, with the activations that overflow where anything does.
    for x in (np.full((3, 65), 255, np.uint8), rng.integers(0, 256, (3, 65)).astype(np.uint8)):
        node = onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [node], "g", [info("x", onnx.TensorProto.UINT8, None)], [info("y", onnx.TensorProto.INT32, None)],
            [onnx.numpy_helper.from_array(integers.T.copy(), "w")],
        )  # fmt: skip
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
        np.testing.assert_array_equal(run(model, {"x": x}), x.astype(np.int32) @ integers.T.astype(np.int32))


def test_zeros_and_zero():
    assert as_int8(np.zeros((2, 4)), weight_scales(np.zeros((2, 4)))).tolist() == [[0] * 4] * 2
    assert np.isfinite(row_scales(np.zeros((2, 4)))).all()
    for low, high in ((0.0, 0.0), (-1.0, 3.0), (0.0, 1e-30), (-1e8, 1e8)):
        scale, zero = activation_scale(low, high)
        assert scale > 0 and 0 <= zero <= 255

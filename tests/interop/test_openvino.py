"""Our models through ONNX in OpenVINO: the flat outputs are in the order of the fields, at other sizes too."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
import torch

from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_torch import MODEL_CLASSES
from tests.benchmarks import bench_devices
from tests.tiny import tiny_batch, tiny_config


def inputs(config, head, **sizes):
    batch = tiny_batch(config, head, **sizes)
    return {name: torch.as_tensor(batch[name]) for name in TEXT_INPUTS}


@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("name", HEADS)
def test_openvino_computes_the_same(name, tmp_path):
    head, config = HEADS[name], tiny_config(output_hidden_states=True, output_attentions=True)
    model = MODEL_CLASSES[name](config).eval()
    length = 2 if head.per_choice else 1
    dynamic = {
        n: {0: torch.export.Dim("batch"), length: torch.export.Dim("length", min=2, max=37)} for n in TEXT_INPUTS
    }
    recorded = inputs(config, head)
    torch.onnx.export(model, (), tmp_path / "m.onnx", kwargs=recorded, dynamo=True, dynamic_shapes=dynamic)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(tmp_path / "m.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )  # some processors have bfloat16
    for batch in (recorded, inputs(config, head, batch=5, length=8)):
        found = compiled({n: value.numpy() for n, value in batch.items()})
        with torch.no_grad():
            expected = torch.utils._pytree.tree_leaves(model(**batch))
        assert len(compiled.outputs) == len(expected)
        for output, values in zip(compiled.outputs, expected, strict=True):
            np.testing.assert_allclose(found[output], values.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_the_benchmark_times_it(tmp_path):
    form = "OpenVINO fp32"
    bench_devices.prepare(tmp_path, [form], blocks=1)
    run = bench_devices.FORMS[form].make(tmp_path)
    assert all(run(bench_devices.inputs(*sizes)) for sizes in ((1, 5), (2, 7), (1, 5)))

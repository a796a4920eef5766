"""The settings that an export has for Triton, read by Triton's own schema and held against the file's own facts."""

from __future__ import annotations

import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from conversion.exports.export import export
from conversion.parity.sample import random_checkpoint
from mobilebert_core.heads import HEADS
from tests.tiny import tiny_config

TYPES = {"tensor(int32)": "TYPE_INT32", "tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}


@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize(("name", "sizes"), [(n, {}) for n in HEADS] + [("MaskedLM", {"batch": 2, "length": 8})])
def test_tritons_schema_reads_it_and_the_file_agrees(name, sizes, tmp_path):
    source = random_checkpoint(tiny_config(num_hidden_layers=1), HEADS[name], tmp_path / "source")
    directory = export(source, tmp_path / "served", format="onnx", layout="triton", **sizes).directory
    read = text_format.Parse((directory / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    session = onnxruntime.InferenceSession(directory / "1/model.onnx")
    joined = not sizes
    assert read.backend == "onnxruntime" and read.max_batch_size == (32 if joined else 0)
    assert read.HasField("dynamic_batching") == joined
    for said, own in ((read.input, session.get_inputs()), (read.output, session.get_outputs())):
        assert [each.name for each in said] == [each.name for each in own]
        for one, other in zip(said, own, strict=True):
            assert model_config_pb2.DataType.Name(one.data_type) == TYPES[other.type]
            shape = [size if isinstance(size, int) else -1 for size in other.shape]
            assert list(one.dims) == shape[1 if joined else 0 :]
    labelled = [each.label_filename for each in read.output if each.label_filename]
    assert labelled == (["labels.txt"] if name == "SequenceClassification" else [])
    assert all((directory / file).is_file() for file in labelled)

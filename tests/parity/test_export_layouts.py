"""Exports as servers of models expect them: still models for the package, with what the server reads beside them."""

from __future__ import annotations

import numpy as np
import pytest

from conversion.exports.export import export
from mobilebert_core.errors import ExportError
from mobilebert_torch import MobileBertForSequenceClassification
from tests.tiny import tiny_batch

LABELS = {0: "no", 1: "yes", 2: "per haps"}


@pytest.fixture
def source(checkpoint):
    labels = {0: "no", 1: "yes", 2: "per\nhaps"}
    return checkpoint("SequenceClassification", num_hidden_layers=1, id2label=labels)


def answers(source, batch):
    import torch

    model = MobileBertForSequenceClassification.from_pretrained(source).eval()
    with torch.no_grad():
        return model(**{n: torch.as_tensor(a) for n, a in batch.items()}).logits.numpy()


def test_a_model_repository_of_triton(source, tmp_path):
    import onnxruntime

    done = export(source, tmp_path / "feelings", format="onnx", layout="triton")
    assert {"1/model.onnx", "config.pbtxt", "labels.txt"} < set(done.files)
    assert (done.directory / "labels.txt").read_text().splitlines() == list(LABELS.values())
    said = (done.directory / "config.pbtxt").read_text()
    assert "max_batch_size: 32" in said and "dynamic_batching" in said and 'name: "feelings"' not in said
    session = onnxruntime.InferenceSession(done.directory / "1/model.onnx")
    assert said.count("TYPE_INT32") == len(session.get_inputs()) == 3 and said.count("dims: [ -1 ]") == 3
    assert 'name: "logits"\n  data_type: TYPE_FP32\n  dims: [ 3 ]\n  label_filename: "labels.txt"' in said


def test_fixed_batches_are_not_joined_by_triton(checkpoint, tmp_path):
    source = checkpoint("QuestionAnswering", num_hidden_layers=1)
    done = export(source, tmp_path / "answers", format="onnx", layout="triton", batch=2, length=16, input_dtype="int64")
    said = (done.directory / "config.pbtxt").read_text()
    assert "max_batch_size: 0" in said and "dynamic_batching" not in said and "labels.txt" not in done.files
    assert said.count("dims: [ 2, 16 ]") == 5 and said.count("TYPE_INT64") == 3


@pytest.mark.slow
def test_a_directory_of_tensorflow_serving(source, tmp_path):
    import tensorflow as tf

    done = export(source, tmp_path / "feelings", format="saved-model", layout="tf-serving")
    assert {"1/saved_model.pb", "models.config", "batching_parameters.txt", "labels.txt"} < set(done.files)
    assert 'name: "feelings"' in (done.directory / "models.config").read_text()
    signature = tf.saved_model.load(str(done.directory / "1")).signatures["serving_default"]
    batch = tiny_batch(MobileBertForSequenceClassification.from_pretrained(source).config,
                       "SequenceClassification", labels=False)  # fmt: skip
    found = signature(**{name: tf.constant(array) for name, array in batch.items()})["logits"]
    np.testing.assert_allclose(found, answers(source, batch), rtol=1e-4, atol=1e-5)


def test_a_layout_has_its_format(source, tmp_path):
    with pytest.raises(ExportError, match="the layout triton is of the format onnx, got litert. Pass --format onnx"):
        export(source, tmp_path / "out", format="litert", layout="triton")
    with pytest.raises(ExportError, match="layout must be one of triton, tf-serving, got 'torchserve'"):
        export(source, tmp_path / "out", format="onnx", layout="torchserve")
    assert not (tmp_path / "out").exists()

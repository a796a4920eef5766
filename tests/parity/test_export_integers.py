"""Exports of integers: proved like every other, with a mask value of the size of the scores, in ONNX Runtime."""

from __future__ import annotations

import csv

import numpy as np
import onnx
import pytest

import mobilebert
from conversion.exports.export import export
from conversion.exports.onnx.inference import Runner
from conversion.parity.sample import random_checkpoint
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import ExportError
from mobilebert_core.heads import HEADS
from mobilebert_core.training.recipe import Recipe
from mobilebert_torch.inference import Runner as TorchRunner
from mobilebert_torch.trainer import Trainer
from tests.tiny import tiny_batch, tiny_config

STARTS = ("I love", "Why did you write", "Nobody cares about", "Thank you for")
RESTS = ("this!", "the second one?", "any of it, and I am sad.", "what we saw on the way home :)")
TEXTS = [f"{start} {rest}" for start in STARTS for rest in RESTS]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in TEXTS)])
    return path


@pytest.mark.slow
def test_static_int8_of_the_demo_model(tmp_path, texts):
    found = export(DEMO_MODEL, tmp_path / "out", format="onnx", precision="int8-static", calibrate=texts)
    assert -1000 < found.record.mask_value < -20
    assert found.files["onnx/model_int8.onnx"] < 2_500_000
    one, other = (mobilebert.pipeline("text-classification", path) for path in (DEMO_MODEL, found.directory))
    for wanted, got in zip(one(TEXTS, top_k=3), other(TEXTS, top_k=3), strict=True):
        assert wanted[0]["label"] == got[0]["label"] and abs(wanted[0]["score"] - got[0]["score"]) < 0.1
    model = onnx.load(found.directory / "onnx/model_int8.onnx")
    kinds = {np.dtype(onnx.helper.tensor_dtype_to_np_dtype(each.data_type)).name for each in model.graph.initializer}
    assert {"int8", "uint8", "int32"} <= kinds


@pytest.mark.slow
def test_what_was_trained_in_integers_is_exported_without_loss(tmp_path):
    """The exported file gives what the model gave under training, with its ranges and without texts."""
    config = tiny_config(num_hidden_layers=1, classifier_dropout=0.0, attention_probs_dropout_prob=0.0)
    path = random_checkpoint(config, HEADS["SequenceClassification"], tmp_path / "source")
    trainer = Trainer.start("SequenceClassification", path, Recipe(learning_rate=1e-3), quantize="int8")
    for seed in range(3):
        trainer.step([tiny_batch(config, "SequenceClassification", 8, 11, seed=seed)], 1e-3)
    trainer.save(tmp_path / "trained")
    found = export(tmp_path / "trained", tmp_path / "out", format="onnx", precision="int8-static")
    assert found.record.folding is None
    batch = tiny_batch(config, "SequenceClassification", 8, 11, labels=False, seed=9)
    wanted, got = trainer.run(batch)["logits"], Runner(found.directory).run(batch)["logits"]
    plain = TorchRunner.from_pretrained("SequenceClassification", tmp_path / "trained").run(batch)["logits"]
    assert np.abs(got - wanted).mean() < np.abs(plain - wanted).mean() / 5
    with pytest.raises(ExportError, match="taken by onnx; litert measures its own from texts. Pass a file"):
        export(tmp_path / "trained", tmp_path / "other", format="litert", precision="int8-static")
    assert not (tmp_path / "other").exists()

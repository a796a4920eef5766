"""Directories of exports in which a file is another one: one clear error before a runtime opens it."""

from __future__ import annotations

import json
import re
import shutil

import pytest

import mobilebert
from conversion.exports.export import export
from conversion.parity.sample import random_checkpoint
from mobilebert.cli import main
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.heads import HEADS
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small model with a tokenizer as ONNX."""
    folder = tmp_path_factory.mktemp("damaged")
    config = tiny_config(num_hidden_layers=1, vocab_size=8000, num_labels=4)
    random_checkpoint(config, HEADS["SequenceClassification"], folder / "source")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(DEMO_MODEL / name, folder / "source")
    return export(folder / "source", folder / "out", format="onnx").directory


def changed_record(folder, own_digest=False, **values):
    """Other values in a record, which then has no digest of itself."""
    record = json.loads((folder / "export.json").read_text()) | values
    if not own_digest:
        del record["record_sha256"]
    (folder / "export.json").write_text(json.dumps(record))


def damaged(path, at):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


SWAPPED = {"input_ids": "attention_mask", "attention_mask": "input_ids", "token_type_ids": "token_type_ids"}
DAMAGES = {
    "model": (lambda folder: damaged(folder / "onnx/model.onnx", 0.9), "onnx/model.onnx is another one"),
    "no model": (lambda folder: (folder / "onnx/model.onnx").unlink(), "onnx/model.onnx is not there"),
    "configuration": (lambda folder: damaged(folder / "config.json", 0.5), "config.json is another one"),
    "vocabulary": (lambda folder: (folder / "vocab.txt").write_text("[PAD]\n"), "vocab.txt is another one"),
    "tokenizer": (lambda folder: (folder / "tokenizer_config.json").unlink(), "tokenizer_config.json is not there"),
    "record": (lambda folder: changed_record(folder, True, length=5), "was changed since it was written"),
    "format": (lambda folder: changed_record(folder, format="coreml"), "wanted an export as onnx, .*, got 'coreml'"),
    "framework": (lambda folder: changed_record(folder, format="torch"), "got 'torch': it is damaged, or of a newer"),
    "inputs": (lambda folder: changed_record(folder, inputs=SWAPPED), "not what an export writes"),
    "outputs": (lambda folder: changed_record(folder, outputs=["start_logits"]), "not what an export writes"),
    "precision": (lambda folder: changed_record(folder, precision="int2"), "not what an export writes"),
    "input_dtype": (lambda folder: changed_record(folder, input_dtype="int64"), r"does not compute inputs of \(1, "),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_export_is_one_clear_error(exported, tmp_path, damage, capsys):
    folder = shutil.copytree(exported, tmp_path / "copy")
    change, said = DAMAGES[damage]
    change(folder)
    assert main(["predict", "text-classification", "a text", "--model", str(folder)]) == 2
    assert re.search(said, capsys.readouterr().err)
    if damage in ("vocabulary", "tokenizer"):  # which need not be there where another is used
        assert mobilebert.pipeline("text-classification", folder, tokenizer=exported)("a text")


def test_a_file_that_was_changed_on_purpose_is_taken(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    labels = {str(number): f"label {number}" for number in range(4)}
    (folder / "config.json").write_text(json.dumps(config | {"id2label": labels, "label2id": None}))
    digests = json.loads((folder / "export.json").read_text())["sha256"]
    del digests["config.json"]
    changed_record(folder, sha256=digests)
    assert mobilebert.pipeline("text-classification", folder)("a text")["label"].startswith("label ")


def test_an_export_is_no_checkpoint(exported, capsys):
    assert main(["inspect", str(exported)]) == 2
    assert "wanted a checkpoint, got an export, whose export.json says what it is" in capsys.readouterr().err

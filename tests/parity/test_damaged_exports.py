"""Directories of exports in which a file is another one: one clear error before a runtime opens it."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import onnx
import pytest

import mobilebert
from conversion.exports.export import export
from conversion.exports.job import Job
from conversion.parity.sample import random_checkpoint
from mobilebert import pipelines
from mobilebert.cli import main
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ExportError
from mobilebert_core.heads import HEADS
from mobilebert_core.saves import STAGE, saving
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


@pytest.fixture
def other(exported, tmp_path):
    """The same export with other labels, words and scores."""
    folder = shutil.copytree(exported, tmp_path / "other")
    model = onnx.load(folder / "onnx/model.onnx")
    bias = next(each for each in model.graph.initializer if list(each.dims) == [4])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([5, 1, 1, 1], np.float32), bias.name))
    onnx.save(model, folder / "onnx/model.onnx")
    config = json.loads((folder / "config.json").read_text())
    labels = {str(number): f"label {number}" for number in range(4)}
    (folder / "config.json").write_text(json.dumps(config | {"id2label": labels, "label2id": None}))
    words = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*words[:1000], *words[:999:-1]]))
    (folder / "tokenizer.json").unlink()
    changed_record(folder, sha256={})
    return folder


def publish(source, place):
    with saving(place) as save:
        shutil.copytree(source, save.stage, dirs_exist_ok=True)
        save.stale.add(re.compile("tokenizer.json"))


@pytest.mark.parametrize("moment", ["runtime", "tokenizer"])
def test_an_export_that_is_replaced_while_it_is_read(exported, other, tmp_path, monkeypatch, moment):
    """The file of one, with the configuration or the tokenizer of the other, is neither."""
    from conversion.exports.onnx.inference import Runner

    folder = shutil.copytree(exported, tmp_path / "copy")
    owner, name = {"runtime": (Runner, "open"), "tokenizer": (pipelines, "open_runner")}[moment]
    original, wanted = getattr(owner, name), mobilebert.pipeline("text-classification", other, top_k=4)("a text")

    def replaced(*args, **options):
        monkeypatch.setattr(owner, name, original)
        publish(other, folder)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, replaced)
    assert mobilebert.pipeline("text-classification", folder, top_k=4)("a text") == wanted
    assert mobilebert.pipeline("text-classification", exported, top_k=4)("a text") != wanted


def test_a_source_that_is_replaced_meanwhile_is_not_exported(exported, tmp_path, monkeypatch):
    """The record had the digests of the new files, the export the old weights."""
    source = shutil.copytree(exported.parent / "source", tmp_path / "source")

    def save(*args):
        shutil.copyfile(source / "config.json", tmp_path / "config.json")
        os.replace(tmp_path / "config.json", source / "config.json")

    for step, act in (("write", save), ("prove", lambda job: None), ("finish", lambda *args: None)):
        monkeypatch.setattr(Job, step, act)
    with pytest.raises(CheckpointError, match="wanted the same files from beginning to end, got other ones .config.js"):
        export(source, tmp_path / "out", format="onnx")
    assert not (tmp_path / "out").exists()


def test_what_a_killed_export_left_in_an_empty_directory_is_no_content(tmp_path):
    (tmp_path / f"{STAGE}dead").mkdir()
    with pytest.raises(ExportError, match="no head 'none'"):  # which is checked after the directory
        export(DEMO_MODEL, tmp_path, format="onnx", head="none")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="holds files already"):
        export(DEMO_MODEL, tmp_path, format="onnx", head="none")

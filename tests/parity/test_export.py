"""Exported files: what lies in the directory, that it answers as its source, and what is refused.

Recording a graph takes seconds, so a few exports are shared by all tests.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file

import mobilebert
from conversion.exports import formats, job
from conversion.exports.export import export
from conversion.exports.record import ExportRecord
from conversion.exports.torch_program.inference import Runner as TorchProgramRunner
from conversion.exports.usage import snippet
from conversion.parity.sample import random_checkpoint
from mobilebert.cli import main
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ExportError, InputError, MobileBertError, TokenizerError
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_torch.export import Exported
from mobilebert_torch.inference import Runner as TorchRunner
from tests.tiny import tiny_batch, tiny_config

ONE_BLOCK = {"num_hidden_layers": 1}
INT8 = {"format": "onnx", "precision": "int8"}
TEXTS = ["What a lovely day!", "They never called back, and I am angry.", "ok"]


def checkpoint(folder: Path, head: str, **overrides) -> Path:
    return random_checkpoint(tiny_config(**ONE_BLOCK, **overrides), HEADS[head], folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small model with the tokenizer and the labels of the demo model."""
    folder = tmp_path_factory.mktemp("source") / "small"
    labels = MobileBertConfig.from_pretrained(DEMO_MODEL).id2label
    checkpoint(folder, "SequenceClassification", vocab_size=8000, max_position_embeddings=128, id2label=labels)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(DEMO_MODEL / name, folder)
    return folder


@pytest.fixture(scope="module")
def exported(source):
    """That model as ONNX, any batch and length."""
    return export(source, source.parent / "export", format="onnx").directory


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A model with choices as a program of fixed sizes."""
    folder = tmp_path_factory.mktemp("fixed")
    checkpoint(folder / "source", "MultipleChoice")
    return export(folder / "source", folder / "out", format="torch-export", batch=2, length=16)


def test_the_directory_holds_all_that_a_model_needs(exported):
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {
        "onnx/model.onnx",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "README.md",
    } < names
    record = json.loads((exported / "export.json").read_text())
    assert record["source"]["sha256"].keys() == {"model.safetensors"}
    assert record["proof"]["outputs"]["logits"]["deviation"] <= 1e-5
    assert set(record["sha256"]) == names - {"export.json"}
    assert json.loads((exported / "config.json").read_text())["id2label"]["0"] == "admiration"


def test_the_card_shows_a_program_that_needs_only_the_runtime(exported, fixed, monkeypatch, capsys):
    _, program = (exported / "README.md").read_text().split("```python\n")
    program = program.split("```")[0]
    monkeypatch.chdir(exported)
    exec(program, {})
    best = mobilebert.pipeline("text-classification", exported)("I love this!")["label"]
    assert capsys.readouterr().out == f"{best}\n" and "import mobilebert" not in program
    assert "```python" not in (fixed.directory / "README.md").read_text()  # has no tokenizer


@pytest.mark.parametrize("labels", [None, {0: "no", 1: "yes"}])
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
def test_that_program_knows_the_names_of_two_labels(tmp_path, monkeypatch, head, labels):
    """It ended in a KeyError where they are LABEL_0 and LABEL_1, which config.json leaves out."""
    config = MobileBertConfig(id2label=labels)
    config.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    record = SimpleNamespace(format="onnx", head=head, head_row=HEADS[head], file="model.onnx", outputs=["logits"],
                             inputs=dict.fromkeys(TEXT_INPUTS, "name"), input_dtype="int32", length=None,
                             batch=None)  # fmt: skip
    (line,) = [line for line in snippet(record, config) if line.startswith("labels")]
    scope = {"json": json, "Path": Path}
    exec(line, scope)
    assert scope["labels"] == {str(number): name for number, name in config.id2label.items()}


def test_inputs_and_outputs_are_named_and_dynamic(exported):
    session = onnxruntime.InferenceSession(exported / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    assert [(each.name, each.type) for each in session.get_inputs()] == [
        (name, "tensor(int32)") for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert [(each.name, each.type) for each in session.get_outputs()] == [("logits", "tensor(float)")]


def test_an_export_answers_as_its_source(exported, source):
    one_by_framework = mobilebert.pipeline("text-classification", source)
    other_by_runtime = mobilebert.pipeline("text-classification", exported, threads=1)
    assert type(other_by_runtime.runner).__module__ == "conversion.exports.onnx.inference"
    for one, other in zip(one_by_framework(TEXTS, top_k=3), other_by_runtime(TEXTS, top_k=3), strict=True):
        assert [each["label"] for each in one] == [each["label"] for each in other]
        np.testing.assert_allclose([e["score"] for e in one], [e["score"] for e in other], rtol=1e-4)


def test_an_export_is_padding_invariant_where_that_is_asked_for(exported, source, tmp_path, capsys):
    arguments = ["export", str(source), str(tmp_path / "out"), "--format", "onnx", "--padding-invariant"]
    assert main(arguments) == 0, capsys.readouterr().err
    classify = mobilebert.pipeline("text-classification", tmp_path / "out", padding_invariant=True, top_k=None)
    (alone,), (together, _) = classify(TEXTS[2:]), classify([TEXTS[2], TEXTS[1]])
    np.testing.assert_allclose([e["score"] for e in together], [e["score"] for e in alone], rtol=1e-6)
    with pytest.raises(InputError, match="Export it again with padding_invariant=True"):
        mobilebert.pipeline("text-classification", exported, padding_invariant=True)


def test_inputs_are_int64_where_that_is_asked_for(source, tmp_path):
    done = export(source, tmp_path / "out", format="onnx", precision="int8-static", input_dtype="int64",
                  calibrate=calibration(tmp_path))  # fmt: skip
    session = onnxruntime.InferenceSession(done.directory / done.record.file, providers=["CPUExecutionProvider"])
    assert {each.type for each in session.get_inputs()} == {"tensor(int64)"}
    assert "- inputs, int64: `input_ids`" in (done.directory / "README.md").read_text()
    assert mobilebert.pipeline("text-classification", done.directory)(TEXTS[0])["label"]


def calibration(folder: Path) -> Path:
    (folder / "texts.txt").write_text("".join(f"The day number {number} was lovely.\n" for number in range(20)))
    return folder / "texts.txt"


def test_an_export_is_not_loaded_by_a_framework(exported):
    with pytest.raises(InputError, match="is an export, which onnx runs, got backend 'torch'"):
        mobilebert.pipeline("text-classification", exported, backend="torch")
    with pytest.raises(InputError, match="precision of its export, got dtype 'float64'"):
        mobilebert.pipeline("text-classification", exported, dtype="float64")
    with pytest.raises(CheckpointError, match="wanted an exported MobileBertForTokenClassification"):
        mobilebert.pipeline("token-classification", exported)
    with pytest.raises(InputError, match="threads is for exported models"):
        mobilebert.pipeline("text-classification", DEMO_MODEL, threads=1)


def test_parity_runs_an_export_beside_its_source(exported, source, fixed, capsys, tmp_path):
    assert main(["parity", str(exported), "--source", str(source), "--json", str(tmp_path / "report.json")]) == 0
    assert "onnx fp32 against torch small" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["name"] == "scores.logits"
    assert main(["parity", str(exported), "--source", str(source), "--tolerance", "1e-30"]) == 1
    capsys.readouterr()
    assert main(["parity", str(exported), "--source", str(fixed.directory.parent / "source")]) == 2
    assert "is not what" in capsys.readouterr().err
    assert main(["parity", str(exported)]) == 2
    assert "Pass it: --source" in capsys.readouterr().err


def test_predict_finds_the_runtime_by_itself(exported, source, capsys):
    answers = []
    for model, more in ((exported, ["--threads", "1"]), (source, [])):
        command = ["predict", "text-classification", "What a lovely day!", "--model", str(model), *more]
        assert main(command) == 0
        answers.append(json.loads(capsys.readouterr().out)["result"])
    assert answers[0]["label"] == answers[1]["label"]
    assert answers[0]["score"] == pytest.approx(answers[1]["score"], rel=1e-4)


def test_evaluate_scores_an_export_as_its_source(exported, source, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in zip(TEXTS, ("joy", "anger",
                    "neutral"), strict=True)))  # fmt: skip
    command = ["evaluate", "text-classification", str(data), "--model"]
    found = []
    for model, more in ((exported, ["--threads", "1"]), (source, [])):
        assert main([*command, str(model), *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [each["backend"] for each in found] == ["onnx", "torch"] and found[0]["rows"] == len(TEXTS)
    assert found[0]["scores"] == pytest.approx(found[1]["scores"]) and "f1_macro" in found[0]["scores"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main([*command, str(exported)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "export on onnx, data.csv, 3 rows" and rest[0].split() == [
        "accuracy", f"{found[0]['scores']['accuracy']:.4f}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "rows", "more", "message"),
    [
        ("text-classification", "text,label\nGood.,delight\n", [], "label 'delight' is not among"),
        ("text-classification", "text,label\n", [], "wanted rows of data, got none"),
        ("text-classification", "text,label\nGood.,joy\n", ["--max-length", "600"], "--max-length is 600"),
        ("text-classification", "text,label\nGood.,joy\n", ["--backend", "torch"], "is an export, which onnx runs"),
        ("text-classification", "text,label\nGood.,joy\n", ["--dtype", "float64"], "precision of its export"),
        ("fill-mask", "Good.\n", [], "wanted an exported MobileBertForMaskedLM"),
    ],
)
def test_what_cannot_be_evaluated_is_one_error(exported, tmp_path, capsys, task, rows, more, message):
    data = tmp_path / ("data.txt" if task == "fill-mask" else "data.csv")
    data.write_text(rows)
    assert main(["evaluate", task, str(data), "--model", str(exported), *more]) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out


def test_fixed_sizes_take_any_batch_and_shorter_rows(fixed):
    runner = formats.EXPORT_FORMATS["torch-export"].runtime.runner("test")(fixed.directory)
    source = TorchRunner.from_pretrained("MultipleChoice", fixed.directory.parent / "source", device="cpu")
    for rows, length in ((1, 16), (5, 16)):
        batch = tiny_batch(source.config, "MultipleChoice", rows, length, labels=False)
        batch = {name: array[:, :3] for name, array in batch.items()}
        np.testing.assert_allclose(runner.run(batch)["logits"], source.run(batch)["logits"], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="fixed length of 16 tokens, got rows of 20"):
        runner.run(tiny_batch(source.config, "MultipleChoice", 2, 20, labels=False))
    assert runner.config.max_position_embeddings == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "format must be one of"),
        ({"format": "torch-export", "precision": "int8"}, "torch-export is written in fp32"),
        ({"format": "onnx", "length": 600}, "max_position_embeddings 128"),
        ({"format": "onnx", "length": 0}, "length must be at least 1, got 0"),
        ({"format": "onnx", "batch": "many"}, "batch must be a whole number or 'dynamic'"),
        ({"format": "onnx", "fold": "half"}, "fold must be one of"),
        ({"format": "onnx", "mlperf": True}, "length is 384, the model has"),
        ({"format": "onnx", "head": "Nothing"}, "no head 'Nothing'"),
        ({"format": "onnx", "head": "MultipleChoice"}, "missing"),
        ({"format": "onnx", "input_dtype": "int8"}, "inputs of onnx are int32 or int64, got input_dtype 'int8'"),
        ({"format": "torch-export", "input_dtype": "int64"}, "inputs of torch-export are int32, got"),
        ({"format": "onnx", "length": 2}, "length must be at least 3, for the special tokens of two texts, got 2"),
        ({"format": "onnx", "calibrate": "three.txt"}, "fp32 has no use for texts to calibrate with"),
        ({**INT8, "calibrate": "three.txt"}, "wanted at least 16 texts to calibrate with, got 3"),
        ({**INT8, "calibrate": "none.txt"}, "there is none"),
    ],
)
def test_what_cannot_be_exported_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("three.txt").write_text("One.\nTwo.\nThree.\n")
    with pytest.raises(MobileBertError, match=message):
        export(DEMO_MODEL, tmp_path / "out", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three.txt"]


def test_a_checkpoint_of_nan_is_refused_by_name(tmp_path):
    source = checkpoint(tmp_path / "source", "SequenceClassification")
    weights = load_file(source / "model.safetensors")
    weights["mobilebert.encoder.layer.0.output.dense.weight"][0, 0] = np.nan
    save_file(weights, source / "model.safetensors")
    with pytest.raises(CheckpointError, match="encoder.layer.0.output.dense.weight .* holds 1 values that are NaN"):
        export(source, tmp_path / "out", format="torch-export")
    assert not (tmp_path / "out").exists()


def test_places_that_are_taken_are_left(tmp_path, exported):
    (tmp_path / "mine.txt").write_text("mine")
    for place, message in (
        (tmp_path, "holds files already"), (tmp_path / "mine.txt", "got a file"), (exported, "pass --overwrite"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            export(DEMO_MODEL, place, format="onnx")
    with pytest.raises(ExportError, match="is an export"):
        export(exported, tmp_path / "out", format="onnx")


def test_a_target_that_cannot_be_written_and_a_full_disk_leave_nothing(tmp_path, monkeypatch):
    source = checkpoint(tmp_path / "source", "TokenClassification")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"mine.txt/new/out: wanted a directory .* got a file \(.*mine.txt\)"):
        export(source, tmp_path / "mine.txt" / "new" / "out", format="torch-export")

    def full(*_):
        raise OSError(28, "No space left on device")

    def write(model, spec, path):
        torch.save(Exported(copy.deepcopy(model), spec), path)

    def open_file(self, path, threads):
        self.module = torch.load(path, weights_only=False)

    monkeypatch.setattr(TorchProgramRunner, "open", open_file)
    for writer, describe in ((full, job.write_text), (write, full)):  # while the file is written, or its card
        monkeypatch.setattr(formats.ExportFormat, "load_writer", lambda self, writer=writer: writer)
        monkeypatch.setattr(job, "write_text", describe)
        with pytest.raises(MobileBertError, match="cannot be written.*No space left on device"):
            export(source, tmp_path / "new" / "out", format="torch-export")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "source"]


def test_an_interruption_that_a_converter_reports_is_one(source, tmp_path, monkeypatch, capsys):
    def writer(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as e:
            raise RuntimeError("Failed to export the model") from e

    monkeypatch.setattr(formats.ExportFormat, "load_writer", lambda self: writer)
    assert main(["export", str(source), str(tmp_path / "out"), "--format", "torch-export"]) == 130
    assert capsys.readouterr().err == "mobilebert: interrupted\n" and not [*tmp_path.iterdir()]


def test_a_tokenizer_with_more_words_than_the_model_is_refused(source, tmp_path):
    more = shutil.copytree(source, tmp_path / "more")
    with (more / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("".join(f"zz{number}\n" for number in range(9000)))
    with pytest.raises(TokenizerError, match="export: wanted a tokenizer for the model's .* words"):
        export(more, tmp_path / "out", format="onnx")


def test_a_damaged_record_is_one_clear_error(tmp_path):
    (tmp_path / "export.json").write_text('{"format": "onnx", "file": "../x"}')
    with pytest.raises(CheckpointError, match="wanted the record of an export"):
        ExportRecord.read(tmp_path)

"""`mobilebert parity` and `mobilebert vocab` as a user calls them, lists of words, damaged records of exports."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys

import pytest

import mobilebert
from conversion.exports.record import ExportRecord
from conversion.parity.sample import random_checkpoint
from mobilebert.cli import main
from mobilebert_core import MobileBertTokenizerFast
from mobilebert_core.errors import CheckpointError, first_line
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.text.word_lists import tokenizer_at
from tests.tiny import tiny_config


def test_a_checkpoint_in_two_dtypes(checkpoint, tmp_path, capsys):
    path = checkpoint("TokenClassification", vocab_size=8000)
    arguments = ["parity", str(path), "--text", "Who keeps the bees?", "It rained.", "--dtype", "float64", "float32"]
    assert main([*arguments, "--json", str(tmp_path / "p.json"), "--plot", str(tmp_path / "p.svg")]) == 0
    out = capsys.readouterr().out
    assert "MobileBertForTokenClassification" in out and out.count("agrees: largest deviation") == 2
    reports = json.loads((tmp_path / "p.json").read_text())
    assert [r["dtype"] for r in reports] == ["float64", "float32"] and all(r["ok"] for r in reports)
    assert {row["kind"] for row in reports[0]["rows"]} == {
        "embeddings",
        "attention",
        "block",
        "scores",
        "loss",
        "gradient",
    }
    assert "<svg" in (tmp_path / "p.svg").read_text()


def test_beyond_the_tolerance_exits_with_one(checkpoint, capsys):
    path = checkpoint("MaskedLM", vocab_size=8000)
    assert main(["parity", str(path), "--tolerance", "1e-30", "--no-gradients"]) == 1
    assert "DIFFERS: first beyond the tolerance is" in capsys.readouterr().out


def test_another_head_on_request(checkpoint, capsys):
    path = checkpoint("Model", vocab_size=8000)
    assert main(["parity", str(path), "--head", "Model"]) == 0
    assert "pooled" in capsys.readouterr().out


def test_a_picture_of_no_known_kind_is_refused_first(tmp_path, capsys):
    assert main(["parity", str(tmp_path), "--plot", "p.xyz"]) == 2
    assert "--plot p.xyz: wanted a file that ends in .png" in capsys.readouterr().err


def test_a_picture_without_matplotlib_is_refused_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["parity", str(tmp_path), "--plot", "p.png"]) == 2
    assert "pip install 'mobilebert[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "link.json"])
def test_a_report_over_a_file_of_the_checkpoint_is_refused(checkpoint, tmp_path, capsys, name):
    path = checkpoint("Model", num_hidden_layers=1)
    (tmp_path / "link.json").symlink_to(path / "config.json")
    place = tmp_path / name if name == "link.json" else path / name
    before = place.read_bytes()
    assert main(["parity", str(path), "--json", str(place)]) == 2
    assert "--json" in (said := capsys.readouterr().err) and "a file of the checkpoint" in said
    assert place.read_bytes() == before


def test_a_report_over_a_file_that_another_name_of_the_model_stands_for(checkpoint, tmp_path, capsys):
    path = checkpoint("Model", num_hidden_layers=1)
    exported = tmp_path / "exported"
    inputs = {name: name for name in TEXT_INPUTS}
    digests = {"model.onnx": ""}
    record = ExportRecord("onnx", "fp32", "Model", "model.onnx", inputs, ["last_hidden_state"], sha256=digests)
    record.write(exported)
    for name in ("model.onnx", "tf.ckpt.index", "tf.ckpt.data-00000-of-00001", "config.json"):
        (exported / name).write_text("kept")
    for model, *source, place in (
        (path / "model.safetensors", path / "config.json"),
        (exported / "tf.ckpt", exported / "tf.ckpt.data-00000-of-00001"),
        (exported / "tf.ckpt", exported / "config.json"),
        (exported, exported / "model.onnx"),
        (exported, "--source", path, path / "model.safetensors"),
    ):
        before = place.read_bytes()
        assert main(["parity", str(model), *map(str, source), "--json", str(place)]) == 2
        assert "a file of the checkpoint" in capsys.readouterr().err and place.read_bytes() == before


def test_the_two_reports_are_two_files(tmp_path, capsys):
    place = str(tmp_path / "p.png")
    assert main(["parity", "--json", place, "--plot", place]) == 2
    assert "Choose two files" in capsys.readouterr().err


def test_no_checkpoint_there(tmp_path, capsys):
    assert main(["parity", str(tmp_path / "nowhere")]) == 2
    assert "config.json: file not found" in capsys.readouterr().err


def test_words_beyond_the_models_vocabulary_are_refused(checkpoint, capsys):
    path = checkpoint("Model", vocab_size=50)  # fewer words than the vocabulary of the package
    assert main(["parity", str(path)]) == 2
    assert "input_ids must lie in 0..49" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seed -1", "seed must be at least 0, got -1"),
        ("--tolerance nan", "tolerance must be a number of at least 0, got nan"),
        ("--tolerance=-1", "got -1.0"),
        ("--hidden-scale 0", "--hidden-scale must be a number above 0, got 0.0"),
        ("--json text.txt/out.json", "text.txt/out.json is below text.txt, which is a file; wanted a file"),
        (
            "--head QuestionAnswering",
            "the weights of QuestionAnswering are not all there; it holds Sequence",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_before_a_framework_is_loaded(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("text")
    monkeypatch.setattr("mobilebert.commands.parity._backends", lambda: pytest.fail("loads frameworks"))
    assert main(["parity", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_vocabularies_are_learned(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the bees keep the hive\nthe hive keeps the bees\n" * 20, encoding="utf-8")
    vocabulary = tmp_path / "vocab.txt"
    assert main(["vocab", "train", str(text), "--size", "60", "--output", str(vocabulary)]) == 0
    tokens = vocabulary.read_text().splitlines()
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] and "hive" in tokens
    tokenizer = MobileBertTokenizerFast(str(vocabulary))
    assert tokenizer.tokenize("The bees") == ["the", "bees"]
    assert main(["vocab", "train", str(tmp_path / "none.txt"), "--size", "60"]) == 2
    assert "none.txt: wanted a data file, cannot read it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "pieces"),
    [
        ([], "Köln", ["koln"]),
        (["--keep-accents"], "Köln", ["köln"]),
        (["--cased"], "Köln", ["Köln"]),
        (["--keep-accents"], "हिन्दी", ["हिन्दी"]),
        (["--cased"], "हिन्दी", ["हिन्दी"]),
    ],
)
def test_a_list_of_words_is_read_as_it_was_learned(option, text, pieces, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(f"{text} {text}\n", encoding="utf-8")
    words = str(tmp_path / "words.txt")
    assert main(["vocab", "train", str(tmp_path / "text.txt"), "--size", "40", "--output", words, *option]) == 0
    assert ("lose an accent or a vowel sign, or are taken apart (ö). Where" in capsys.readouterr().err) is (not option)
    tokenizer, said = tokenizer_at(words)
    assert tokenizer.tokenize(text) == pieces and len(said) == len(option)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert tokenizer_at(tmp_path / "saved")[0].tokenize(text) == pieces


def test_a_vocabulary_is_learned_from_a_pipe(tmp_path, capsys):
    """It was read a second time, for the accents: an error when all was done, or a wait without end."""
    reading, writing = os.pipe()
    with open(writing, "w") as pipe:
        pipe.write("the cat\n" * 9)
    words = tmp_path / "words.txt"
    assert main(["vocab", "train", f"/dev/fd/{reading}", "--size", "40", "--output", str(words)]) == 0
    os.close(reading)
    assert "cat" in words.read_text().split() and capsys.readouterr().err == ""


def test_what_files_of_a_tokenizer_say_is_not_guessed_from_its_words(tmp_path):
    """Beside a file of weights it was; and the names of markers were taken for words."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\nCat\n")
    MobileBertTokenizerFast(str(tmp_path / "vocab.txt"), do_lower_case=True).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    for place in (tmp_path, tmp_path / "model.safetensors"):
        tokenizer, said = tokenizer_at(place)
        assert tokenizer.tokenize("Cat") == ["cat"] and said == []
    (tmp_path / "words.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[E1]\n<S>\ncat\n")
    assert tokenizer_at(tmp_path / "words.txt")[1] == []


def test_vocabularies_are_learned_from_packed_text_and_not_from_endless_words(tmp_path, capsys):
    command = ["vocab", "train", "--size", "60", "--output", str(tmp_path / "vocab.txt"), "--overwrite"]
    texts = "the bees keep the hive\n" * 20
    endless = "xyz" * 1_000_000  # minutes of work, for a word that is [UNK]
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress((texts + endless + "\n").encode()))
    assert main([*command, str(tmp_path / "text.txt.gz")]) == 0
    tokens = (tmp_path / "vocab.txt").read_text().splitlines()
    assert "hive" in tokens and "x" not in tokens
    (tmp_path / "text.txt").write_bytes(texts.encode() + b"\xff\n")
    assert main([*command, str(tmp_path / "text.txt")]) == 2
    assert "text.txt:21: wanted UTF-8 text, got other bytes. Save the file" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.txt").write_text(texts)
    assert main([*command[:-2], str(tmp_path / "pipe"), str(tmp_path / "text.txt")]) == 2
    assert "pipe is a device, a pipe or a socket; wanted a place for a file" in capsys.readouterr().err


def test_names_that_are_no_text_are_shown_escaped(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("the bees keep the hive\n" * 20)
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", shown)
    output = tmp_path / "caf\udce9.txt"
    assert main(["vocab", "train", str(tmp_path / "text.txt"), "--size", "40", "--output", str(output)]) == 0
    assert output.exists() and b"caf\\udce9.txt: " in shown.buffer.getvalue()


@pytest.mark.parametrize("size", [5, -1])
def test_a_vocabulary_needs_room(tmp_path, size, capsys):
    (tmp_path / "t").write_text("text")
    assert main(["vocab", "train", str(tmp_path / "t"), "--size", str(size)]) == 2
    assert "above the 5 special tokens" in capsys.readouterr().err


def test_evaluation_reads_a_list_alone_as_prediction_does(tmp_path):
    """It kept the capitals of a list that has them; transformers, and with it prediction, does not without settings."""
    words = ["cat", "Cat", "dog", "Dog", "cow", "Cow"]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    config = tiny_config(vocab_size=11, num_labels=3, initializer_range=0.5)
    random_checkpoint(config, HEADS["SequenceClassification"], tmp_path)
    texts = [f"{first} {second} {third}" for first in words for second in words for third in words]
    answers = mobilebert.pipeline("text-classification", tmp_path)(texts)
    lines = [f"{text},{answer['label']}\n" for text, answer in zip(texts, answers, strict=True)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(lines))
    found = mobilebert.evaluate("text-classification", tmp_path / "rows.csv", tmp_path)
    assert len({answer["label"] for answer in answers}) > 1 and found.scores["accuracy"] == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["pretrain", "--held-out", "1"], "argument --held-out: must be 0 or at least 2, got 1"),
        (["distill", "--held-out", "-1"], "argument --held-out: must be 0 or at least 2, got -1"),
        (["distill", "--save-every", "0"], "argument --save-every: must be at least 1, got 0"),
        (["train", "fill-mask", "--set", "num_labels"], "argument --set: wanted FIELD=VALUE, got 'num_labels'"),
        (["evaluate", "fill-mask", "a.txt", "--batch-size", "0"], "argument --batch-size: must be at least 1, got 0"),
    ],
)
def test_an_argument_out_of_range_names_its_command(command, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command, prog="python -m mobilebert")
    said, name = capsys.readouterr().err, " ".join(command[: command.index(command[-2])]).removesuffix(" a.txt")
    assert f"python -m mobilebert {name}: error: {message}" in said
    assert said.startswith(f"usage: python -m mobilebert {name} ")


WHOLE = {
    "format": "onnx", "precision": "fp32", "head": "MaskedLM", "file": "model.onnx",
    "inputs": {name: name for name in TEXT_INPUTS}, "outputs": ["logits"],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"head": []}, {"format": 1}, {"precision": None}, {"inputs": {"input_ids": 1}}, {"outputs": 3}, {"outputs": [1]},
     {"source": "x"}, {"batch": "x"}, {"batch": 0}, {"length": True}, {"input_dtype": {}}, {"calibration": []},
     {"mask_value": "x"}, {"proof": []}, {"notes": "x"}, {"sha256": None}, {"file": "/x"}],
)  # fmt: skip
def test_a_record_with_one_damaged_value(tmp_path, change):
    (tmp_path / "export.json").write_text(json.dumps(WHOLE))
    assert ExportRecord.read(tmp_path).head_row.name == "MaskedLM"
    (tmp_path / "export.json").write_text(json.dumps({**WHOLE, **change}))
    with pytest.raises(CheckpointError, match="export.json: is damaged"):
        ExportRecord.read(tmp_path)


@pytest.mark.parametrize("option", [("--seed", "1"), ("--dtype", "float64"), ("--no-gradients",), ("--head", "Model")])
def test_options_that_an_export_does_not_take_are_refused(tmp_path, option, capsys):
    (tmp_path / "export.json").write_text(json.dumps(WHOLE))
    assert main(["parity", str(tmp_path), "--source", "x", "--plot", str(tmp_path / "p.PNG"), *option]) == 2
    assert f"{option[0]} is for a checkpoint: {tmp_path} is an export" in capsys.readouterr().err


def test_an_error_without_a_word_has_a_name():
    assert first_line(RuntimeError()) == "RuntimeError" and first_line(ValueError(" \none\ntwo")) == "one"

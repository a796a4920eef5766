"""What the commands say where a name, an option or an input is not what was meant."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest

from mobilebert import Training, pipeline
from mobilebert.cli import main
from mobilebert.option_names import as_options
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.tasks.table import TASKS
from tests.parity.train_tasks import train, write_task

CLASSIFY = "text-classification"


@pytest.fixture
def refused(capsys):
    """Runs a command that ends with 2, and returns what it says on stderr."""

    def run(*arguments):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as e:  # argparse's own errors
            code = e.code
        assert code == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Pass skip_bad_rows=True, or header=False.", "Pass --skip-bad-rows, or --no-header."),
        ("Load it with dtype='float32'.", "Load it with --dtype float32."),
        ("pass batch_size=... or set IT.", "pass --batch-size ... or set IT."),
        ("Pass allow_missing=[...] to go on.", "In Python pass allow_missing=[...] to go on."),
        ("set IT or pass token='hf_...'.", "set IT or in Python pass token='hf_...'."),
        ("top_k is 1, 'top_k=3' and a/top_k=3.txt", "--top-k is 1, 'top_k=3' and a/top_k=3.txt"),
        ("the dtype (x=3) is of the model, padding=True", "the dtype (x=3) is of the model, padding=True"),
    ],
)
def test_keywords_of_python_are_options_of_the_command(said, shown):
    passed = dict.fromkeys(("skip_bad_rows", "header", "dtype", "recipe_batch_size"))
    assert as_options(said, argparse.Namespace(task=TASKS[CLASSIFY], **passed)) == shown


COMMANDS = {
    "predict": ("predict", CLASSIFY, "text", "--model", "{}"),
    "evaluate": ("evaluate", CLASSIFY, "data.csv", "--model", "{}"),
    "parity": ("parity", "{}"),
    "inspect": ("inspect", "{}"),
    "convert": ("convert", "{}", "out"),
    "export": ("export", "{}", "out", "--format", "onnx"),
    "distill": ("distill", "--teacher", "{}", "--student", "mobilebert-tiny", "--data", "data.csv", "--output", "out"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_name_of_a_model_or_preset(command, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("text,label\na,b\n")
    for name, meant in (("mobilebert-mimi", "mobilebert-mini"), ("mobilebrt-tiny", "mobilebert-tiny")):
        said = refused(*(part.format(name) for part in COMMANDS[command]))
        assert f"Did you mean {meant}?" in said and "write owner/name, or in Python pass revision='main'" in said
    if command != "parity":  # which takes presets
        said = refused(*(part.format("mobilebert-tiny") for part in COMMANDS[command]))
        assert "the name of an architecture, which has a configuration" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_a_mistyped_configuration(command, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rest = ["out"] if command == "convert" else []
    said = refused(command, DEMO_MODEL, *rest, "--config", "mobilebert-tny")
    assert "--config mobilebert-tny: no such file, and no preset. Did you mean mobilebert-tiny?" in said
    (tmp_path / "loop").symlink_to("loop")
    assert "loop is a link to nothing that is there" in refused(command, "loop", *rest)
    (tmp_path / "words.csv").write_text("text,label")
    assert "words.csv: wanted the directory of config.json" in refused(
        command, DEMO_MODEL, *rest, "--config", "words.csv"
    )
    (tmp_path / "small.json").write_text("{}")
    assert "Did you mean small.json?" in refused(command, DEMO_MODEL, *rest, "--config", "smal.json")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tf", "keras"), ("TensorFlow", "keras"), ("pytorch", "torch"), ("pt", "torch"), ("kera", "keras")],
)
def test_other_names_of_backends(name, meant, refused):
    said = f"got {name!r}. Did you mean {meant!r}?"
    with pytest.raises(InputError) as error:
        pipeline(CLASSIFY, backend=name)
    assert said in str(error.value)
    for command in (
        ["predict", CLASSIFY, "a text"],
        ["train", CLASSIFY, "--data", "d", "--model", "m", "--output", "o"],
    ):
        assert said in refused(*command, "--backend", name)


def test_what_runs_exports_does_not_train(tmp_path):
    with pytest.raises(InputError, match="train: backend must be one of torch, keras, got 'onnx'"):
        Training(task=CLASSIFY, data=tmp_path, model="mobilebert-mini", output=tmp_path / "out", backend="onnx").run()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "text,label\n"), ("a.tsv", "text\n"), ("a.jsonl", "\n"), ("a.txt", ""), ("a.csv", "")],
)
def test_an_input_without_rows(name, content, model, predict, tmp_path):
    file = tmp_path / name
    file.write_text(content)
    code, records, said = predict(CLASSIFY, "--model", model(CLASSIFY), "--input", file)
    assert records == []
    if name == "a.csv" and not content:  # no columns either
        assert code == 2 and "the file is empty" in said
    else:
        assert code == 0 and said == f"mobilebert: {file}: 0 rows, nothing to answer\n"


def test_a_vocabulary_that_is_there_is_kept(tmp_path, refused):
    text, words = tmp_path / "text.txt", tmp_path / "words.txt"
    text.write_text("the bees keep the hive\n" * 20)
    words.write_text("mine")
    command = ["vocab", "train", str(text), "--size", "40", "--output", str(words)]
    assert "words.txt is there already. Choose another output, or pass --overwrite." in refused(*command)
    assert words.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0 and "[MASK]" in words.read_text()


def test_sharding_without_other_processes(here, refused, monkeypatch):
    data = write_task(here, CLASSIFY)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    command = ["train", CLASSIFY, "--data", data, "--model", here / "random" / "config.json", "--output", here / "out"]
    assert "Start them: torchrun --nproc-per-node N -m mobilebert train" in refused(*command, "--shard")
    assert not (here / "out").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")  # of a launcher that starts one
    assert main([*map(str, command), "--shard", "--max-steps", "1"]) == 0


def test_a_sweep_says_once_what_is_newly_initialized(here, caplog, monkeypatch):
    from mobilebert_core.training import defaults

    assert train(here, "fill-mask", "start", "--max-steps", "1") == 0
    monkeypatch.setattr(defaults, "RATES", (1e-3, 3e-3))
    data = write_task(here, CLASSIFY)
    with caplog.at_level(logging.WARNING):
        assert main(["train", CLASSIFY, "--data", str(data), "--model", str(here / "start"), "--output",
                     str(here / "out"), "--max-steps", "2", "--learning-rate", "sweep"]) == 0  # fmt: skip
    assert sum("newly initialized" in record.getMessage() for record in caplog.records) == 1


def test_a_configuration_is_read_where_it_lies(tmp_path, monkeypatch):
    from mobilebert.commands.arguments import config_of, is_preset

    (tmp_path / "c.json").write_text("{}")
    assert config_of(None) is None and config_of(str(tmp_path / "c.json")) == tmp_path / "c.json"
    assert config_of("mobilebert-tiny").num_feedforward_networks == 2
    with pytest.raises(ConfigError, match="no such file"):
        config_of(str(tmp_path / "d.json"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobilebert").mkdir()  # as in a clone of the repository
    assert is_preset("mobilebert") and config_of("mobilebert").num_hidden_layers == 24
    (tmp_path / "mobilebert" / "config.json").write_text("{}")
    assert not is_preset("mobilebert") and config_of("mobilebert") == Path("mobilebert")


@pytest.mark.parametrize(
    ("options", "rows", "said"),
    [
        (("--precision", "int8", "--calibrate"), "words\nhello\n", "Put one of these names into its first row."),
        (("--evaluate",), "words\nhello\n", "Put one of these names into its first row."),
        (("--evaluate",), "text,label\nfine,joy\n,joy\n", "data.csv:3: text is empty. Mend the row.\n"),
    ],
)
def test_an_export_names_no_options_that_it_has_not(refused, tmp_path, options, rows, said):
    (tmp_path / "data.csv").write_text(rows)
    words = ("export", DEMO_MODEL, tmp_path / "out", "--format", "onnx", *options, tmp_path / "data.csv")
    message = refused(*words)
    assert said in message and not any(name in message for name in ("text_column", "header=", "skip_bad_rows"))

"""The command with standard streams that are closed, broken or full: real processes, as a shell starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conversion import convert
from mobilebert.cli import main
from mobilebert_core import DEMO_MODEL, ConfigError

ROOT = Path(__file__).parents[2]
PREDICT = "-m mobilebert predict text-classification"


def shell(command: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PY": sys.executable, "MODEL": str(DEMO_MODEL)}
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, env=environment, **options)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"$PY {PREDICT} <&-", "text missing"),
        (f"$PY {PREDICT} --input - <&-", "wanted texts from standard input, got a closed one"),
        (f"$PY {PREDICT} hello >&-", "predict: wanted a standard output for the answers, got a closed one"),
        ("$PY -m mobilebert inspect $MODEL >&-", "inspect: wanted a standard output"),
        ("$PY -m mobilebert inspect $MODEL >/dev/full", "standard output or the file system: No space left on device"),
    ],
)
def test_a_stream_that_is_needed(command, message):
    done = shell(command)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mobilebert: ") and message in line


def test_no_stream_is_needed_for_a_file(tmp_path):
    out = tmp_path / "out.jsonl"
    done = shell(f"$PY {PREDICT} hello --output {out} <&- >&- 2>&-")
    assert done.returncode == 0 and (done.stdout, done.stderr) == ("", "")
    (line,) = out.read_text().splitlines()  # no message, and nothing of what the framework prints
    assert json.loads(line)["line"] == 1


def test_messages_do_not_get_among_the_answers(tmp_path):
    broken = tmp_path / "in.jsonl"
    broken.write_text('"hello"\nbroken\n')
    done = shell(f"$PY {PREDICT} --input {broken} 2>&-")
    assert done.returncode == 1 and [json.loads(line)["line"] for line in done.stdout.splitlines()] == [1]


@pytest.mark.parametrize("arguments", [["inspect", str(DEMO_MODEL)], ["predict", "text-classification", "hello"]])
def test_a_reader_that_has_gone(arguments):
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "mobilebert", *arguments], stdout=nobody, stderr=subprocess.PIPE, cwd=ROOT
        )
    assert done.returncode == 141 and done.stderr == b""


def test_a_conversion_into_this_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="got an empty name"):
        convert(DEMO_MODEL, "")
    for command in (
        ["convert", "m"],
        ["predict", "ner", "--model", "m", "--output"],
        ["vocab", "train", "t", "--output"],
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*command, ""])
        assert "got an empty name" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main(["convert", str(DEMO_MODEL), ".", "--parity", "none"]) == 0
    assert {"model.safetensors", "config.json", "provenance.json", "vocab.txt"} <= {p.name for p in tmp_path.iterdir()}
    assert main(["convert", str(DEMO_MODEL), ".", "--parity", "none"]) == 2
    assert "there is model.safetensors already" in capsys.readouterr().err


def test_a_device_without_values(capsys):
    assert main(["predict", "text-classification", "hello", "--device", "meta"]) == 2
    assert "wanted one that computes, such as cpu, got 'meta'" in capsys.readouterr().err

"""Every snippet of the README runs as it stands, and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


@pytest.mark.slow
def test_snippets_and_commands_run_in_order(tmp_path):
    snippets = "\n".join(blocks("python"))
    assert snippets.count("import") >= 4
    run(["-W", "ignore", "-c", snippets], tmp_path)
    commands = [line for block in blocks("console") for line in block.splitlines() if line.startswith("mobilebert ")]
    answers = (
        '"label": "love"',
        '"label": "LABEL_',
        "my-classifier: the model",
        "agrees",
        "1,113 float32",
        "parity   exact",
        "-of-0000",
    )
    assert len(commands) == len(answers)
    for command, answer in zip(commands, answers, strict=True):
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        assert answer in run(["-m", "mobilebert.cli", *words[1:]], tmp_path)
    assert (tmp_path / "parity.json").stat().st_size and (tmp_path / "parity.png").stat().st_size


def test_make_knows_its_commands():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"^make (\w+)", "\n".join(blocks("console")), flags=re.M)) <= targets


def run(arguments: list[str], folder: Path) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(folder)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

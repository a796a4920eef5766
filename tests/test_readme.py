"""Everything that the README shows is run, in its order, and prints what the README says.

A block of Python runs in a process of its own and prints the block of text after it, if there is one. Commands run in
a shell at a pseudo-terminal. `...` in an output stands for any text, and numbers such as 1.2e-15 for any small number:
rounding differs from machine to machine.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)
TARGETS = {"parity": "agrees: largest deviation", "test": "-m pytest"}  # of make, and what they print


def environment(folder: Path) -> dict[str, str]:
    """Of a shell in which `mobilebert` and `make` use this checkout and this interpreter."""
    binaries = folder / "venv" / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for name, module in (("mobilebert", "-m mobilebert.cli"), ("python", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore {module} "$@"\n')
        (binaries / name).chmod(0o755)
    (folder / "venv" / ".installed").touch()
    return {
        "PATH": f"{binaries}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "VENV": str(folder / "venv"), "HOME": str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1",
    }  # fmt: skip


def on_terminal(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    """What a person sees of a command's standard output."""
    master, slave = pty.openpty()
    with (folder / "stderr.txt").open("w+") as errors:
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=errors, cwd=folder, env=variables)
        os.close(slave)
        seen = b""
        while chunk := read(master):
            seen += chunk
        os.close(master)
        errors.seek(0)
        assert process.wait() == 0, f"{command}\n{errors.read()[-3000:]}"
    return seen.decode()


def read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the end of a pseudo-terminal, on Linux
        return b""


def assert_shown(expected: str, seen: str) -> None:
    pattern = re.escape(" ".join(expected.split()))
    pattern = pattern.replace(r"\.\.\.", ".*?")
    pattern = re.sub(r"\d\\\.\de\\-\d\d", r"(\\d\\.\\de-\\d\\d|exact)", pattern)
    assert re.fullmatch(pattern, " ".join(seen.split())), f"README shows\n{expected}\ngot\n{seen}"


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block, without comments, and the output shown for each."""
    parts = re.split(r"^\$ ", block, flags=re.M)
    assert parts[0] == "", f"a console block starts with a command: {block}"
    return [(part.partition("\n")[0].partition("  #")[0].strip(), part.partition("\n")[2]) for part in parts[1:]]


def run_command(command: str, output: str, folder: Path, variables: dict[str, str]) -> None:
    program, *words = command.split()
    if program == "make":
        (target,) = words
        # The tests would run themselves: of them the commands are shown.
        command += f" --directory '{ROOT}' --no-print-directory" + (" --dry-run" if target == "test" else "")
    else:
        assert program == "mobilebert"
    seen = on_terminal(["bash", "-c", command], folder, variables)
    if output:
        assert_shown(output, seen)
    elif program == "make":
        assert TARGETS[words[0]] in seen


@pytest.mark.slow
def test_every_block_runs_and_prints_what_is_shown(tmp_path):
    variables = environment(tmp_path)
    followers = [*BLOCKS[1:], ("", "")]
    for (language, block), (next_language, shown) in zip(BLOCKS, followers, strict=True):
        if language == "python":
            seen = on_terminal(["python", "-c", block], tmp_path, variables)
            assert_shown(shown if next_language == "text" else "", seen)
        elif language == "console":
            for command, output in commands(block):
                run_command(command, output, tmp_path, variables)
        elif language == "csv":
            name = re.findall(r"`(\w+\.csv)`", README[: README.index(block)])[-1]
            (tmp_path / name).write_text(block)
        else:
            assert language == "text"  # the output of the block before
    assert (tmp_path / "parity.json").stat().st_size and (tmp_path / "parity.png").stat().st_size


def test_a_wrong_output_is_found():
    assert_shown("agrees: 1.2e-15, ... arrays", "agrees:  9.9e-07, 12\nother arrays")
    for expected, seen in (("love 0.999", "love 0.998"), ("a ... c", "a b"), ("1.2e-15", "nan"), ("", "text")):
        with pytest.raises(AssertionError, match="README shows"):
            assert_shown(expected, seen)


def test_what_it_names_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = re.search(r"^\| `pip install '\.\[\.\.\.\]'`.*?\n\n", README, flags=re.M | re.S).group()
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.M)
    assert len(named) == 7 and set(named) == set(extras) - {"dev", "jax", "interop"}
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).is_file(), path
    assert set(TARGETS) <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))

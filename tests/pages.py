"""Runs what a page of Markdown shows, in its order, and compares what it prints with what the page says.

A block of Python runs in a process of its own and prints the block of text after it or, without one, what stands in
comments behind `print`. Commands run in a shell at a pseudo-terminal. A block with a title is a file of that name. In
an output `...` stands for any text, and numbers such as 1.2e-15 for any small number: rounding differs from machine to
machine.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', flags=re.M | re.S)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", flags=re.M)
TARGETS = {"parity": "agrees: largest deviation", "test": "-m pytest"}  # of make, and what they print


def environment(folder: Path) -> dict[str, str]:
    """Of a shell in which `mobilebert` and `make` use this checkout and this interpreter."""
    binaries = folder / "venv" / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for name, module in (("mobilebert", "-m mobilebert.cli"), ("python", ""), ("torchrun", "-m torch.distributed.run")):
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
    pattern = re.sub(r"(^|\\ )\\\.\\\.\\\.\\ ", r"\1(?:.*?\\ )?", pattern)  # between words: also nothing
    pattern = pattern.replace(r"\.\.\.", ".*?")
    pattern = re.sub(r"\d\\\.\de\\-\d\d", r"(\\d\\.\\de-\\d\\d|exact)", pattern)
    assert re.fullmatch(pattern, " ".join(seen.split())), f"the page shows\n{expected}\ngot\n{seen}"


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block, without comments, and the output shown for each; lines that end in `\\` go on."""
    parts = re.split(r"^\$ ", block, flags=re.M)
    assert parts[0] == "", f"a console block starts with a command: {block}"
    found = (re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, flags=re.S) for part in parts[1:])
    return [(match[1].partition("  #")[0].strip(), match[2]) for match in found if match]


def run_command(command: str, output: str, folder: Path, variables: dict[str, str]) -> None:
    program, *words = command.split()
    if program == "make":
        (target,) = words
        # The tests would run themselves: of them the commands are shown.
        command += f" --directory '{ROOT}' --no-print-directory" + (" --dry-run" if target == "test" else "")
    else:
        assert program in ("mobilebert", "python", "torchrun", "ls", "head"), program
    seen = on_terminal(["bash", "-c", command], folder, variables)
    if output:
        assert_shown(output, seen)
    elif program == "make":
        assert TARGETS[words[0]] in seen


def run_page(text: str, folder: Path) -> None:
    """Runs every block of a page in `folder`.

    Raises:
        AssertionError: when a command fails, or prints something else than the page shows.
    """
    variables = environment(folder)
    blocks = BLOCK.findall(text)
    followers = [*blocks, ("", "", "")][1:]
    for (language, title, block), (following, _, shown) in zip(blocks, followers, strict=True):
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(block)
        elif language == "python":
            seen = on_terminal(["python", "-c", block], folder, variables)
            assert_shown(shown if following == "text" else "\n".join(PRINTED.findall(block)), seen)
        elif language == "console":
            for command, output in commands(block):
                run_command(command, output, folder, variables)
        else:
            assert language == "text", language  # the output of the block before

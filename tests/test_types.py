"""What a static type checker sees of the packages from outside: real types, and every mistake of a user's file.

The files in tests/typing are checked, never run. They say the expected types by `assert_type`, which Any does not
meet; a line that must be an error ends in `# error`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))


def marked(path: Path) -> list[int]:
    return [number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# error")]


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder,
                          env=environment)  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found_by_mypy(request, tmp_path_factory):
    """The lines with errors, by the name of the file, and what mypy says about them."""
    folder = tmp_path_factory.mktemp("mypy")
    kept = getattr(request.config, "cache", None)  # not with `-p no:cacheprovider`
    cache = kept.mkdir("mypy") if kept else folder / "cache"  # what it knows of the frameworks
    # As in an installed package, errors inside ours and in the frameworks are not the user's.
    said = run(["mypy", "--strict", "--follow-imports=silent", f"--cache-dir={cache}", *map(str, FILES)], folder)
    lines: dict[str, list[int]] = {path.name: [] for path in FILES}
    for name, number in re.findall(r"^.*?(\w+\.py):(\d+): error", said, flags=re.M):
        lines[name].append(int(number))
    return lines, said


@pytest.mark.slow
@pytest.mark.xdist_group("mypy")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_sees_types_and_finds_the_mistakes_alone(found_by_mypy, path):
    lines, said = found_by_mypy
    assert lines[path.name] == marked(path), said


def test_the_mistakes_are_several():
    assert {path.stem: len(marked(path)) for path in FILES} == {
        "correct": 0, "typos": 5, "torch_models": 3, "keras_models": 3,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pyright_agrees(path, tmp_path):
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}))
    command = ["pyright", "--project", str(project), "--pythonpath", sys.executable, "--outputjson", str(path)]
    found = json.loads(run(command, tmp_path))["generalDiagnostics"]
    lines = [each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"]
    assert lines == marked(path), found

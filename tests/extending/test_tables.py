"""No fact of the tables stands outside them: an extension edits the places that CONTRIBUTING.md names, and it works.

Each case is written into a copy of the code. Its checks, and the existing tests of the tables, run there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.extending.cases import CASES, Case

ROOT = Path(__file__).parents[2]
COPIED = ("mobilebert", "mobilebert_core", "mobilebert_torch", "mobilebert_tf", "conversion", "tests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "benchmarks")


def extended(case: Case, copy: Path) -> Path:
    """A copy of the code with the rows and files of a case."""
    for package in COPIED:
        shutil.copytree(ROOT / package, copy / package, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, before, text in case.rows:
        path = copy / name
        code = path.read_text(encoding="utf-8")
        assert code.count(before) == 1, f"{name}: {before!r} stands there {code.count(before)} times"
        path.write_text(code.replace(before, text + before), encoding="utf-8")
    for name, text in case.files.items():
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return copy


def ran(copy: Path, paths: list[str], name: str) -> list[tuple[str, str]]:
    """The file and id of every test that passed in the copy; fails where one did not pass."""
    report = copy / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(report), "-k",
               f"{name} or checks_", *paths]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert not [case.get("name") for case in cases if case.find("skipped") is not None]
    return [(str(case.get("classname")), str(case.get("name"))) for case in cases]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_an_extension_edits_only_the_named_places(kind, tmp_path):
    case, checks = CASES[kind], f"tests/extending/checks_{kind}.py"
    copy = extended(case, tmp_path / "copy")
    passed = ran(copy, [checks, *case.tests], case.name)
    for path, least in {checks: 1, **case.tests}.items():
        module = path.removesuffix(".py").replace("/", ".")
        found = [name for where, name in passed if where == module and (path == checks or case.name in name)]
        assert len(found) >= least, f"{path}: wanted {least} tests of {case.name} at least, got {found}"

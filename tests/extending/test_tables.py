"""No fact of the tables stands outside them: an extension edits the places that CONTRIBUTING.md names, and it works.

All cases are written into one copy of the code. Their checks, and the existing tests of the tables, run there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.extending.cases import CASES

ROOT = Path(__file__).parents[2]
COPIED = ("mobilebert", "mobilebert_core", "mobilebert_torch", "mobilebert_tf", "conversion", "tests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "benchmarks")


def extended(copy: Path) -> Path:
    """A copy of the code with the rows and files of every case."""
    for package in COPIED:
        shutil.copytree(ROOT / package, copy / package, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for case in CASES.values():
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


@pytest.fixture(scope="module")
def passed(tmp_path_factory) -> list[tuple[str, str]]:
    """The file and id of every test that passed in the copy; fails where one did not pass.

    One copy and one process for all cases: most of the time of each would go into importing the frameworks.
    """
    copy = extended(tmp_path_factory.mktemp("extended") / "copy")
    report = copy / "report.xml"
    paths = {f"tests/extending/checks_{kind}.py" for kind in CASES}.union(*(case.tests for case in CASES.values()))
    rows = [f"({Path(path).name} and {case.name})" for case in CASES.values() for path in case.tests]
    names = " or ".join(["checks_", *rows])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(report), "-k", names,
               *sorted(paths)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert not [case.get("name") for case in cases if case.find("skipped") is not None]
    return [(str(case.get("classname")), str(case.get("name"))) for case in cases]


@pytest.mark.slow
@pytest.mark.xdist_group("extending")
@pytest.mark.parametrize("kind", CASES)
def test_an_extension_edits_only_the_named_places(kind, passed):
    case, checks = CASES[kind], f"tests/extending/checks_{kind}.py"
    for path, least in {checks: 1, **case.tests}.items():
        module = path.removesuffix(".py").replace("/", ".")
        found = [name for where, name in passed if where == module and (path == checks or case.name in name)]
        assert len(found) >= least, f"{path}: wanted {least} tests of {case.name} at least, got {found}"

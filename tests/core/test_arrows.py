"""No package imports what is around it, no backend the other's framework; and importing loads no more than needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.test_house import ARROWS

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax"}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ARROWS)
def test_no_package_imports_what_is_around_it(package):
    for path in (ROOT / package).rglob("*.py"):
        assert not imported(path) & {"tests", "scripts", "examples"}, path


def test_backends_do_not_import_each_others_framework():
    """But for the one file that asks PyTorch where Keras runs on it."""
    for path in (ROOT / "mobilebert_torch").rglob("*.py"):
        assert not imported(path) & {"tensorflow", "keras", "jax"}, path
    asking = [path.name for path in (ROOT / "mobilebert_tf").rglob("*.py") if "torch" in imported(path)]
    assert asking == ["keras_on_torch.py"]


def loaded_by(statement: str) -> set[str]:
    """Frameworks in a new interpreter after a statement."""
    code = f"{statement}; import sys; print(*(m for m in {sorted(FRAMEWORKS)} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def test_core_and_conversion_load_no_framework():
    everything = "import mobilebert_core as m, conversion, mobilebert.cli; [getattr(m, n) for n in m.__all__]"
    assert loaded_by(everything) == set()


def test_a_backend_loads_its_own_framework_alone():
    assert loaded_by("import mobilebert_torch") == {"torch"}
    assert "torch" not in loaded_by("import mobilebert_tf")


@pytest.mark.parametrize(("framework", "extra"), [("keras", "tf"), ("torch", "torch")])
def test_a_missing_framework_is_one_clear_error(framework, extra):
    code = (
        f"import sys; sys.modules['{framework}'] = None\n"
        "from mobilebert_core import BackendMissingError\n"
        f"try: import mobilebert_{extra}\n"
        "except BackendMissingError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert f"pip install 'mobilebert[{extra}]'" in done.stdout

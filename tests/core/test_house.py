"""The structure of the code, read from its text: arrows, circles, sizes, and words that a reader would not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARROWS = {
    "mobilebert_core": set(),
    "mobilebert_torch": {"mobilebert_core"},
    "mobilebert_tf": {"mobilebert_core"},
    "conversion": {"mobilebert_core", "mobilebert_torch", "mobilebert_tf"},
    "mobilebert": {"mobilebert_core", "mobilebert_torch", "mobilebert_tf", "conversion"},
}  # package: what it may import, beside itself
# A string that is the name of a module, for another reason than importing it.
NAMES_IN_FILES = {
    ("mobilebert_core.checkpoints.containers.keras_writer", "mobilebert_tf.heads"),  # what Keras writes into .keras
    ("mobilebert_core.checkpoints.containers.keras_writer", "mobilebert_tf.modeling"),
}
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50  # without its docstring


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the packages, by its full name."""
    return {module_of(path, root): path for package in ARROWS for path in sorted((root / package).rglob("*.py"))}


def imported(module: str, root: Path = ROOT) -> set[str]:
    """Modules of ours that a module imports, wherever in it, also for its annotations alone or by a string."""
    known, path = modules(root), modules(root)[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            base = ".".join(filter(None, (above if node.level else "", node.module)))
            for alias in node.names:
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = package + node.value if node.value.startswith(".") else node.value
            if "." in named and named in known and (module, named) not in NAMES_IN_FILES:
                found.add(named)
    return {name for name in found if name in known} - {module}


def against_the_arrows(root: Path = ROOT) -> list[str]:
    wrong = []
    for module in modules(root):
        top = module.partition(".")[0]
        others = {name.partition(".")[0] for name in imported(module, root)} - {top}
        wrong += [f"{module} imports {other}" for other in sorted(others - ARROWS[top])]
    return wrong


def circles(root: Path = ROOT) -> list[list[str]]:
    """Groups of modules that reach each other by imports (Tarjan's strongly connected components)."""
    graph = {module: imported(module, root) for module in modules(root)}
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file with its number of lines, docstring and nested functions' own count included once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def test_no_import_goes_against_the_arrows():
    assert against_the_arrows() == []


def test_no_circle_of_files():
    assert circles() == []


def test_files_and_functions_are_short():
    long_files = [
        str(path.relative_to(ROOT))
        for path in modules().values()
        if len(path.read_text().splitlines()) > LINES_OF_A_FILE
    ]
    assert long_files == []
    long_functions = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in modules().values()
        for name, lines in functions(path)
        if lines > LINES_OF_A_FUNCTION
    ]
    assert long_functions == []


@pytest.mark.parametrize("name", ["predict_ray", "predict_spark", "serve_litserve"])
def test_examples_to_start_from_are_short(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 60


def test_file_names_say_what_is_inside():
    vague = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not vague & {name.rpartition(".")[2] for name in modules()}


@pytest.mark.parametrize(
    ("file", "line", "check", "message"),
    [
        ("mobilebert_core/heads.py", "import mobilebert_torch.layers", against_the_arrows, "core.heads imports"),
        ("mobilebert_tf/losses.py", "NAME = 'mobilebert_torch.losses'", against_the_arrows, "tf.losses imports"),
        ("mobilebert_core/outputs.py", "from . import heads", circles, "mobilebert_core.heads"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, file, line, check, message):
    for package in ARROWS:
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    (tmp_path / file).write_text((tmp_path / file).read_text() + f"\n{line}\n")
    assert message in str(check(tmp_path))


# Words that say nothing to a reader from the field.
PRIVATE_WORDS = re.compile(
    r"\b(Renamed|Outgoing|Stored|heads_held|surgery|Journal|judged|fate|luck|hideable|came|told|fresh)\b"
)


def found_in(paths: Iterable[Path], words: re.Pattern[str]) -> list[str]:
    """The lines of files that hold one of these words."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]


def test_code_speaks_the_fields_words():
    assert found_in([*modules().values(), *(ROOT / "scripts").glob("*.py")], PRIVATE_WORDS) == []


def test_the_map_names_every_room_of_the_core():
    said = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = [
        path
        for path in (ROOT / "mobilebert_core").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    ]
    assert [path.name for path in rooms if f"`{path.name}" not in said and path.name != "__init__.py"] == []


def test_documentation_says_random_or_newly_initialized():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "mobilebert_core" / "data").rglob("*.md")]
    assert found_in(pages, re.compile(r"\bfresh\b")) == []

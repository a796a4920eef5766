"""`import mobilebert`: what it gives, how fast, and that static and lazy names are the same."""

from __future__ import annotations

import ast
import errno
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mobilebert
import mobilebert_core
from mobilebert.cli import main
from mobilebert.pipeline_keywords import OF_ROWS, OF_TOKENIZER, WITHOUT_EFFECT
from mobilebert.pipeline_options import PipelineOptions, TransformersOptions
from mobilebert_core import DEMO_MODEL, InputError, errors
from mobilebert_core.errors import what_to_do
from mobilebert_core.hub.resolve import HUB_KEYWORDS
from mobilebert_core.tasks.table import TASKS
from mobilebert_core.tasks.task_text import options_of

ROOT = Path(__file__).parents[1]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)


def test_importing_loads_neither_a_framework_nor_numpy():
    code = "import sys; before = set(sys.modules); import mobilebert; print(len(set(sys.modules) - before))"
    loaded = "; print(*({'torch', 'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    count, found = python("-c", code + loaded).stdout.splitlines()
    assert found == "" and int(count) < 30  # modules, as a measure of time that no busy machine changes


@pytest.mark.parametrize("package", ["mobilebert", "mobilebert_core", "conversion"])
def test_type_checkers_see_the_names_that_are_imported_lazily(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    (static,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {}
    for node in static.body:
        assert isinstance(node, ast.ImportFrom)
        (alias,) = node.names
        assert alias.name == alias.asname  # an explicit re-export
        seen[alias.name] = "." * node.level + node.module
    assert seen == module._EXPORTS
    assert {*seen} <= {*dir(module)} and {*seen} <= {*module.__all__}
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def public_names(package: str) -> set[str]:
    """`__all__` of a package; what a framework is needed to import is read."""
    if package not in ("mobilebert_torch", "mobilebert_tf"):
        return {*importlib.import_module(package).__all__}
    return {*ast.literal_eval((ROOT / package / "__init__.py").read_text().rpartition("__all__ = ")[2])}


PAGES = {
    "mobilebert": "mobilebert", "mobilebert_core": "core", "mobilebert_torch": "torch", "mobilebert_tf": "keras",
    "conversion": "conversion",
}  # fmt: skip


@pytest.mark.parametrize("package", PAGES)
def test_every_public_name_has_its_place_in_the_reference(package):
    pages = {place: (ROOT / "docs" / "reference" / f"{page}.md").read_text() for place, page in PAGES.items()}
    page = pages[package]
    documented = {
        target.rpartition(".")[2] for target in re.findall(r"^::: (\S+)", "\n".join(pages.values()), flags=re.M)
    }
    documented |= set(re.findall(r"`(\w+)`", page))
    if package == "mobilebert_core":  # whole modules
        for module in re.findall(r"^::: (mobilebert_core\.[a-z_.]+)$", page, flags=re.M):
            documented |= {node.name for node in ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()).body
                           if isinstance(node, ast.ClassDef | ast.FunctionDef)}  # fmt: skip
    if package == "mobilebert":  # of the others, whose pages have them
        documented |= set(re.findall(r"`(\w+)`", pages["mobilebert_torch"] + pages["mobilebert_tf"]))
    assert public_names(package) - documented - {"__version__"} == set()


def test_every_kind_of_error_is_a_public_name():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert kinds <= {*mobilebert_core.__all__}


def test_pipeline_stays_the_function():
    function = mobilebert.pipeline
    importlib.import_module("mobilebert.pipelines")
    importlib.import_module("mobilebert.cli")
    assert mobilebert.pipeline is function and callable(function)


def test_pipeline_has_the_demo_model_as_default(backend):
    (best, *_) = mobilebert.pipeline("sentiment-analysis", backend=backend.name)("I love this!")
    assert best["label"] == "love" and best["score"] > 0.5
    with pytest.raises(InputError, match="wanted a model, got none. Pass model=, the directory of a MobileBertFor"):
        mobilebert.pipeline("question-answering", backend=backend.name)
    with pytest.raises(InputError, match="no task 'ner2'"):
        mobilebert.pipeline("ner2")


def test_the_typed_options_are_those_of_the_tables():
    options = {each.name for task in TASKS.values() for each in options_of(task.text)}
    theirs = set(TransformersOptions.__annotations__)
    assert set(PipelineOptions.__annotations__) == options | set(HUB_KEYWORDS) | theirs
    assert not options & theirs
    other_names = {name for task in TASKS.values() for name in task.text.in_transformers}
    without_effect = {name for name in WITHOUT_EFFECT if not name.startswith("_")}
    assert theirs >= other_names | without_effect | {"num_workers", *OF_ROWS, *OF_TOKENIZER}


@pytest.mark.parametrize(
    ("words", "usage", "message"),
    [
        ("predict text-clasification x", "predict [-h] TASK", "got 'text-clasification'. Did you mean 'text-classif"),
        (
            "predict ner --bakend keras x",
            "predict token-class",
            "no option '--bakend'. Did you mean '--backend'?",
        ),
        (
            "train fill-mask --modle x",
            "train fill-mask",
            "no option '--modle'. Did you mean '--model'?",
        ),
        ("export m o --format onx", "export", "argument --format: must be one of onnx, torch-export, litert, saved-"),
        ("export m o --format onx", "export", "got 'onx'. Did you mean 'onnx'?"),
        ("export m o --format onnx --head maskedlm", "export", "got 'maskedlm'. Did you mean 'MaskedLM'?"),
        ("convert m o --max_shard_size=3", "convert", "no option '--max_shard_size'. Did you mean '--max-shard-size'?"),
        ("exprt m o", "[-h] [--version]", "got 'exprt'. Did you mean 'export'?"),
        ("--verison", "[-h] [--version]", "no option '--verison'. Did you mean '--version'?"),
        ("inspect a b -x", "inspect", "error: wanted nothing more, got b -x"),
        ("distill --save-every x", "distill", "argument --save-every: wanted a whole number, got 'x'"),
    ],
)
def test_what_is_misspelt_is_named_with_what_was_meant(words, usage, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith(f"usage: mobilebert {usage}".rstrip()) and message in said


def test_what_argparse_takes_is_still_taken(capsys):
    """The beginning of an option, text that looks like one, and what comes after --."""
    assert main(["inspect", "--js", str(DEMO_MODEL)]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"]["vocab_size"] == 8000
    for words in (["--what is this"], ["--", "--bakend"]):
        assert main(["predict", "text-classification", "--thresh", "0.1", "--top-k", "1", *words]) == 0


def test_the_command_says_its_version_and_how_it_was_called(capsys):
    for program in ("mobilebert", "mobilebert.cli"):
        assert python("-m", program, "--version").stdout == f"mobilebert {mobilebert.__version__}\n"
    assert python("-m", "mobilebert").stderr.startswith("usage: python -m mobilebert [-h]")
    with pytest.raises(SystemExit):
        main(["predict", "ner"])
    assert capsys.readouterr().err.startswith("usage: mobilebert predict token-classification [TEXT ...] --model PATH")


@pytest.mark.parametrize("output", ["answers.jsonl", "answers.parquet"])
def test_what_the_system_refuses_to_write_says_what_to_do(output, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("hello\n")
    (tmp_path / "file").write_text("")
    command = f"predict text-classification --input {tmp_path}/texts.txt --output {tmp_path}/file/{output}"
    assert main([*command.split(), "--model", str(mobilebert.DEMO_MODEL)]) == 2
    assert capsys.readouterr().err.rstrip().endswith("Choose another place.")


def test_what_to_do_depends_on_the_cause():
    for number, said in ((errno.EACCES, "may read and write"), (errno.EROFS, "may read"), (errno.ENOSPC, "Free some")):
        assert said in what_to_do(OSError(number, os.strerror(number)))
    assert what_to_do(OSError("no number")) == what_to_do(OSError(errno.EIO, "")) == "Choose another place."

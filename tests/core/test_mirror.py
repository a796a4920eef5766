"""The two backends are twins: file for file the same classes, functions, methods and parameters in the same order.

Read from the source, so that no framework is needed. What differs is declared below with its reason, and nothing else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Files of one name in both backends that are no twins.
OTHER_THINGS = {
    "__init__": "names alone, which follow from the other files",
    "construction": "what PyTorch's models need when they are loaded, and Keras's when they are loaded and written",
    "export": "each backend writes the formats of its own framework",
}


@dataclass(frozen=True)
class Difference:
    """Lines of an outline that only one backend has, as patterns; `reordered` names functions."""

    reason: str
    torch: tuple[str, ...] = ()
    keras: tuple[str, ...] = ()
    reordered: tuple[str, ...] = ()


DIFFERENCES = (
    Difference(
        "A Keras layer builds its weights from sizes and an initializer; a PyTorch model initializes all modules at "
        "the end of its constructor.",
        torch=(
            "truncated_normal_*", "NoNorm.__init__*", "Powers.__init__*", "Gain.__init__*", "make_norm(width)",
            "TaskModel.__init__*", "*.post_init", "*.init_weights",
        ),
        keras=(
            "*(initializer)", "*.__init__(kwargs)", "*(made)", "*.build_head(dtype)", "make_norm(dtype)",
            "make_norm(name)", "*.build", "*.build(input_shape)", "*.build_parts*",
        ),
    ),
    Difference(
        "Keras ties weights by sharing a layer, PyTorch by sharing a parameter.",
        torch=("ExtraOutput*", "*.tie_weights", "*.set_output_embeddings*"),
        keras=("LMPredictionHead.__init__(decoder)", "PreTrainingHeads.__init__(word_embeddings)"),
    ),
    Difference(
        "In the blocks of Keras all tokens lie in one axis, so attention takes the length. PyTorch's fused attention "
        "returns no probabilities, so it takes whether they are needed.",
        torch=("*(need_probs)",),
        keras=("*(length)",),
    ),
    Difference(
        "A task model in PyTorch holds the bare model; in Keras both hold a layer.",
        torch=("MobileBertModel.encode*", "MobileBertModel.as_heads_read*"),
        keras=("MobileBertMainLayer*",),
    ),
    Difference(
        "Keras checks inputs before `call` (calling.py) and makes models of configurations. PyTorch checks in "
        "`forward`, but not while a graph is recorded.",
        torch=("checking", "checked_inputs*", "check_tensors*"),
        keras=("*.get_config", "*.from_config(custom_objects)", "ID_INPUTS"),
    ),
    Difference(
        "A PyTorch model has one dtype and one device; Keras has policies and places its models itself.",
        torch=("*(wide)", "*PreTrainedModel.dtype", "*PreTrainedModel.device", "device_of*"),
        keras=("POLICIES",),
    ),
    Difference(
        "PyTorch finds weights by state dicts, which distributed runs gather: they are processes, whose gradients are "
        "averaged. Keras's are the replicas of a strategy, whose gradients are added up.",
        torch=(
            "*PreTrainedModel.*(state_dict)", "*(is_main_process)", "Trainer.__init__(ranks)", "ProcessRanks*",
            "ObjectiveModule*", "several_ranks", "reached_by*", "shard_blocks*", "whole*", "like*", "T",
        ),
        keras=("*.variable_of*", "for_one_replica*"),
    ),
    Difference(
        "The Trainer of transformers, accelerate and PEFT are around PyTorch's models alone.",
        torch=(
            "*Surface.*checkpointing*(*)", "*Surface.*activation_checkpointing*", "*Surface.*mask*",
            "*Surface.*input_require_grads", "*Surface.set_attn*", "*Surface.add_model_tags*",
            "*Surface.is_custom_code", "rows_of*", "first_rows*", "table_in*", "register_with_transformers",
        ),
    ),
    Difference(
        "Keras's `fit` weighs samples and takes labels apart from the inputs.",
        keras=("*(sample_weight)", "weight_of*", "weight_names*", "labelled_rows*", "labelled_only*"),
    ),
    Difference(
        "The arguments of the models stand in the order of transformers, which differs between the frameworks.",
        reordered=("MobileBertModel.forward", "MobileBertFor*.forward"),
    ),
)  # fmt: skip


def parameters(function: ast.FunctionDef) -> list[str]:
    found = function.args
    named = [*found.posonlyargs, *found.args, found.vararg, *found.kwonlyargs, found.kwarg]
    return [argument.arg for argument in named if argument is not None and argument.arg not in ("self", "cls")]


def translated(name: str) -> str:
    """`TFMobileBertModel.call` -> `MobileBertModel.forward`."""
    return re.sub(r"^TF|(?<=^_)TF", "", name).replace(".call", ".forward")


def outline(source: str) -> list[str]:
    """Public names, classes, functions and methods, these with a line for each parameter: "fold", "fold(basis)"."""
    lines: list[str] = []

    def add(name: str, function: ast.FunctionDef) -> None:
        names = sorted(parameters(function)) if is_reordered(name) else parameters(function)
        lines.extend([name, *(f"{name}({parameter})" for parameter in names if parameter != "training")])

    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            add(translated(node.name), node)
        elif isinstance(node, ast.ClassDef):
            lines.append(translated(node.name))
            for method in (inner for inner in node.body if isinstance(inner, ast.FunctionDef)):
                add(translated(f"{node.name}.{method.name}"), method)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            lines.extend(translated(target.id) for target in targets if isinstance(target, ast.Name))
    return list(dict.fromkeys(lines))  # overloads of one function count once


def is_reordered(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for difference in DIFFERENCES for pattern in difference.reordered)


def is_private(line: str) -> bool:
    return any(re.match("_(?!_)", part) for part in line.partition("(")[0].split("."))


def matching(lines: Sequence[str], patterns: Sequence[str]) -> set[str]:
    return {line for line in lines for pattern in patterns if fnmatchcase(line, pattern)}


def compared(torch_source: str, keras_source: str) -> tuple[list[str], list[str]]:
    """Both outlines without the declared differences, and without private names that only one has."""
    torch_lines, keras_lines = outline(torch_source), outline(keras_source)
    torch_only = matching(torch_lines, [p for d in DIFFERENCES for p in d.torch])
    keras_only = matching(keras_lines, [p for d in DIFFERENCES for p in d.keras])
    shared = {line.partition("(")[0] for line in torch_lines} & {line.partition("(")[0] for line in keras_lines}

    def kept(lines: list[str], only: set[str]) -> list[str]:
        return [n for n in lines if n not in only and not (is_private(n) and n.partition("(")[0] not in shared)]

    return kept(torch_lines, torch_only), kept(keras_lines, keras_only)


def sources(name: str) -> tuple[str, str]:
    return tuple((ROOT / package / f"{name}.py").read_text() for package in ("mobilebert_torch", "mobilebert_tf"))


def twins() -> list[str]:
    """The files that both backends have under one name."""
    torch_files, keras_files = (
        {p.stem for p in (ROOT / b).glob("*.py")} for b in ("mobilebert_torch", "mobilebert_tf")
    )
    return sorted((torch_files & keras_files) - OTHER_THINGS.keys())


def test_a_file_says_that_it_is_a_twin():
    """A twin that loses its other half, by a new name or a split, is found here."""
    for package, other in (("mobilebert_torch", "mobilebert_tf"), ("mobilebert_tf", "mobilebert_torch")):
        heads = {path.stem: ast.get_docstring(ast.parse(path.read_text())) for path in (ROOT / package).glob("*.py")}
        said = {name for name, head in heads.items() if re.search(rf"Twin:\s{other}/{name}\.py\b", head or "")}
        assert sorted(said) == twins()


@pytest.mark.parametrize("name", twins())
def test_twin_files_have_one_outline(name):
    torch_lines, keras_lines = compared(*sources(name))
    assert torch_lines == keras_lines and torch_lines


def test_the_differences_are_few_and_each_is_there():
    assert len(DIFFERENCES) <= 10 and all(difference.reason for difference in DIFFERENCES)
    outlines = [[line for name in twins() for line in outline(sources(name)[side])] for side in (0, 1)]
    for difference in DIFFERENCES:
        for lines, patterns in zip(outlines, (difference.torch, difference.keras), strict=True):
            for pattern in patterns:
                assert matching(lines, [pattern]), f"{pattern}: no longer needed"
        assert all(matching(outlines[0], [pattern]) for pattern in difference.reordered)


@pytest.mark.parametrize(
    "changed",
    [
        "class A:\n    def b(self, x): ...\n    def forward(self, x, y): ...",  # the order of methods
        "class A:\n    def forward(self, y, x): ...\n    def b(self, x): ...",  # the order of parameters
        "class A:\n    def forward(self, x, z): ...\n    def b(self, x): ...",  # the name of a parameter
        "class A:\n    def forward(self, x, y): ...\n    def b(self, x): ...\ndef c(): ...",  # one more function
        "class B:\n    def forward(self, x, y): ...\n    def b(self, x): ...",  # the name of a class
    ],
)
def test_a_change_on_one_side_is_seen(changed):
    torch_source = "class A:\n    def forward(self, x, y): ...\n    def b(self, x): ..."
    same = "class TFA:\n    def call(self, x, y, training): ...\n    def b(self, x): ...\n    def _own(self): ..."
    one, other = compared(torch_source, same)
    assert one == other
    one, other = compared(torch_source, changed)
    assert one != other

"""Everything that the README shows is run, in its order, and prints what the README says."""

from __future__ import annotations

import itertools
import re
import tomllib

import pytest

from tests.pages import ROOT, TARGETS, assert_shown, run_page

README = (ROOT / "README.md").read_text()
NUMBERS = (ROOT / "docs" / "numbers.md").read_text()


@pytest.mark.slow
def test_every_block_runs_and_prints_what_is_shown(tmp_path):
    words = ["cat", "dog", "friend", "child", "sees", "likes", "finds", "the", "a", "my"]
    sentences = [" ".join(three) + "." for three in itertools.permutations(words, 3)]
    documents = ["\n".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))  # a reader's own
    run_page(README, tmp_path)


def test_a_wrong_output_is_found():
    assert_shown("agrees: 1.2e-15, ... arrays", "agrees:  9.9e-07, 12\nother arrays")
    for expected, seen in (("love 0.999", "love 0.998"), ("a ... c", "a b"), ("1.2e-15", "nan"), ("", "text")):
        with pytest.raises(AssertionError, match="the page shows"):
            assert_shown(expected, seen)


def shares_of(form: str) -> list[list[float]]:
    """The row of a form in the page of numbers: for each shape the shares on both processors."""
    row = re.search(rf"^\| {re.escape(form)} \|(.*)\|$", NUMBERS, flags=re.M).group(1)
    return [[float(share) for share in cell.split("/")] for cell in row.split("|")]


def test_its_speeds_are_those_of_the_page_of_numbers():
    int8 = zip(shares_of("ONNX Runtime, our int8 file"), shares_of("LiteRT, our int8 file"), strict=True)
    fastest = [[min(pair) for pair in zip(onnx, litert, strict=True)] for onnx, litert in int8]
    for said, shares in (
        ("folded PyTorch model against transformers 5.23 eager, one thread", shares_of("PyTorch, folded")),
        ("exported int8 file, the fastest way on a CPU, against transformers 5.23 eager", fastest),
        ("LiteRT file against transformers' graph in ONNX Runtime, fp32", shares_of("LiteRT, fp32")),
    ):
        every = [share for cell in shares for share in cell]
        assert f"| {said} | {min(every):.2f} to {max(every):.2f} of the time |" in README


def test_what_it_names_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    start = (ROOT / "docs" / "index.md").read_text()
    table = re.search(r"^\| `pip install '\.\[\.\.\.\]'`.*?\n\n", start, flags=re.M | re.S).group()
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.M)
    assert len(named) == 12 and set(named) == set(extras) - {"dev", "interop", "browser", "cluster", "docs"}
    assert len(README.splitlines()) <= 92
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).is_file(), path
    assert set(TARGETS) <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))

"""The model card shows the names that users chose, and nothing of them means anything to Markdown or HTML."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mobilebert.training_report import card
from mobilebert_core.card_text import code, escaped, name_of
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.tiny import tiny_config

HOSTILE = (
    "<script>alert(1)</script>", "[click](http://evil.example)", "![x](http://evil.example/x.png)", "a | b", "**bold**",
    "`code", "x\n---\nlicense: mit\n---\n# Another title", "<!-- hidden", "&lt;b&gt;", "\u202eabc", "_x_", "$x$",
    "www.x.y",
)  # fmt: skip


def written(**changes):
    names = {
        "labels": ["bad", "good"],
        "data": Path("data.csv"),
        "model": "mobilebert",
        "output": Path("out"),
        "note": "",
    }
    names |= changes
    config = tiny_config(id2label=dict(enumerate(names["labels"])), problem_type="single_label_classification")
    training = SimpleNamespace(
        model=names["model"], output=names["output"], data=names["data"], backend="torch", precision="float32",
        tune_thresholds=False,
    )  # fmt: skip
    results = {
        "rows": {"train": 3, "dev": 2}, "newly_initialized": ["classifier.bias"], "best_metric": "f1", "skipped": [],
        "notes": [names["note"]], "dev": {"step": 1, "epoch": 1.0, "f1": 0.5},
    }  # fmt: skip
    return card(training, TRAINING_TASKS["text-classification"], Recipe(), config, results)


@pytest.mark.parametrize("what", ["labels", "data", "model", "output", "note"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(what, name):
    value = {"labels": ["bad", name], "data": Path("a") / name, "output": Path("b") / name}.get(what, name)
    found, usual = written(**{what: value}), written()
    assert len(found.splitlines()) == len(usual.splitlines()) and found.splitlines()[:4] == usual.splitlines()[:4]
    assert "<" not in found and "![" not in found and "](" not in found and "\u202e" not in found
    assert not {"# Another title", "license: mit", "---"} & {*found.splitlines()[4:]}
    for line in found.splitlines():
        if not line.startswith("|"):
            assert "|" not in line.replace("\\|", "")


def test_usual_names_are_shown_as_they_are():
    found = written(labels=["B-PER", "very good", "Größe"], model="google/mobilebert-uncased")
    assert "Labels: B-PER, very good, Größe." in found and "**Start:** `google/mobilebert-uncased`;" in found
    assert "**Data:** `data.csv`: 3 train rows" in found and "\n# out\n" in found
    assert code("a/b_c.d-e") == "`a/b_c.d-e`" and escaped("a_b <c> http://x") == "a\\_b &lt;c&gt; http\\://x"


def test_no_path_of_the_machine(tmp_path):
    data, model = tmp_path / "data.csv", tmp_path / "start"
    model.mkdir()
    found = written(data=data, model=str(model), output=tmp_path / "out")
    assert str(tmp_path) not in found and "`start`" in found and "`data.csv`" in found
    assert name_of("google/mobilebert") == "google/mobilebert" and name_of("/no/such/model") == "model"

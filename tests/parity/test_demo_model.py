"""The model that ships with the package does what its card says, on both frameworks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mobilebert import MobileBertPipeline
from mobilebert.cli import main
from mobilebert_core import DEMO_MODEL
from mobilebert_core.training.tasks.metrics import multi_label
from scripts.demo_model import EMOTIONS, read, student
from tests.core.tokenizers import real_data


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_it_names_emotions(backend):
    classify = MobileBertPipeline.from_pretrained("text-classification", DEMO_MODEL, backend=backend)
    texts = {"I love this!": "love", "Thank you so much.": "gratitude", "I'm so sorry.": "remorse", "lol": "amusement"}
    assert [answer[0]["label"] for answer in classify(list(texts))] == list(texts.values())


def test_it_is_the_default_of_predict(capsys):
    assert main(["predict", "text-classification", "I love this!"]) == 0
    answer = json.loads(capsys.readouterr().out)["result"]
    assert answer[0]["label"] == "love" and answer[0]["score"] > 0.5 > answer[1]["score"]


def test_it_is_the_default_of_parity(capsys):
    assert main(["parity", "--dtype", "float64"]) == 0
    out = capsys.readouterr().out
    assert "MobileBertForSequenceClassification" in out and "the demo model" in out and "agrees" in out


def test_it_is_small_and_knows_its_labels():
    assert sum(path.stat().st_size for path in DEMO_MODEL.iterdir()) <= 8e6
    config = json.loads((DEMO_MODEL / "config.json").read_text())
    assert tuple(config["id2label"].values()) == EMOTIONS


@pytest.mark.slow
def test_its_scores_are_those_of_its_card():
    texts, gold = read(real_data("goemotions", "dev.tsv"))
    scores = multi_label(student(DEMO_MODEL, texts), gold)
    card = (DEMO_MODEL / "README.md").read_text()
    macro, micro = re.search(r"probability above 0.5 \| ([\d.]+) \| ([\d.]+)", card).groups()
    assert np.allclose([scores["f1_macro"], scores["f1_micro"]], [float(macro), float(micro)], atol=2e-4)
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \|$", card, flags=re.M)
    ours, theirs = ([r for r in rows if r[0].startswith(start)] for start in ("demo model, thresholds", "TF-IDF"))
    for us, them in zip(ours, theirs, strict=True):
        assert float(us[1]) > float(them[1]) and float(us[2]) > float(them[2])

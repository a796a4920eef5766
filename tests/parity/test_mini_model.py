"""The small encoder that ships with the package is loaded by its name at every door, and knows some English."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import mobilebert
import mobilebert_tf
import mobilebert_torch
from conversion.parity.deviation import TOLERANCES, relative_deviation
from mobilebert.cli import main
from mobilebert_core import AutoTokenizer, MobileBertConfig
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.shipped_models import MINI_MODEL

NAME = "mobilebert-mini"
EXPECTED = {"he went to the [MASK] .": {"door", "house", "station", "church", "room", "city", "village", "window"}}


def test_both_frameworks_load_it_by_name_and_agree():
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    encoded = tokenizer(["she opened the [MASK] .", "a letter"], padding=True, return_tensors="np")
    ours = mobilebert_torch.MobileBertForMaskedLM.from_pretrained(NAME).eval()
    theirs = mobilebert_tf.TFMobileBertForMaskedLM.from_pretrained(NAME)
    one = ours(**tokenizer(["she opened the [MASK] .", "a letter"], padding=True, return_tensors="pt")).logits
    two = theirs(dict(encoded)).logits
    assert relative_deviation(one.detach().numpy(), np.asarray(two)) <= TOLERANCES["float32"]
    assert MobileBertConfig.from_pretrained(NAME).vocab_size == len(tokenizer) == one.shape[-1]


@pytest.mark.parametrize("text", EXPECTED)
def test_a_pipeline_and_predict_fill_masks_with_it(text, capsys):
    answers = mobilebert.pipeline("fill-mask", NAME, top_k=10)(text)
    assert {answer["token_str"] for answer in answers} & EXPECTED[text]
    assert main(["predict", "fill-mask", text, "--model", NAME]) == 0
    assert json.loads(capsys.readouterr().out)["result"][0]["token_str"] == answers[0]["token_str"]


def test_a_training_starts_from_it(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("text,label\n" + "a good day,good\na bad day,bad\n" * 4)
    words = ["train", "text-classification", "--data", str(tmp_path), "--output", str(tmp_path / "out"), "--max-steps"]
    assert main([*words, "1", "--model", NAME]) == 0
    settings = json.loads((tmp_path / "out" / "training.json").read_text())
    assert settings["settings"]["model"] == NAME
    assert [n for n in settings["newly_initialized"] if "classifier" not in n and "pooler" not in n] == []
    assert main([*words, "1", "--model", "mobilebert-mimi"]) == 2
    assert "Did you mean mobilebert-mini?" in capsys.readouterr().err


def test_a_directory_here_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(NAME, config=True, weights=True, tokenizer=True) == MINI_MODEL
    shutil.copytree(MINI_MODEL, NAME)
    config = json.loads((tmp_path / NAME / "config.json").read_text())
    (tmp_path / NAME / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.25}))
    assert MobileBertConfig.from_pretrained(NAME).hidden_dropout_prob == 0.25
    assert resolve(NAME, weights=True).resolve() == tmp_path / NAME


def test_it_is_small_and_its_card_names_what_it_read():
    assert sum(path.stat().st_size for path in MINI_MODEL.iterdir()) <= 12e6
    card = (MINI_MODEL / "README.md").read_text()
    for source in ("Standard Ebooks", "ELTeC", "Wikipedia contributors", "US government works", "Python PEPs",
                   "Schema-Guided Dialogue", "Groningen Meaning Bank", "GUM"):  # fmt: skip
        assert source in card

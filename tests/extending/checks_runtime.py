"""What holds after an export format was added."""

from __future__ import annotations

import json

import pytest

from mobilebert.cli import main
from mobilebert_core.demo_model import DEMO_MODEL


def test_an_export_is_proved_and_answers(capsys, tmp_path):
    assert main(["export", str(DEMO_MODEL), str(tmp_path / "out"), "--format", "wrapped"]) == 0
    assert "proved on" in capsys.readouterr().out
    answers = []
    for model in (tmp_path / "out", DEMO_MODEL):
        assert main(["predict", "text-classification", "What a lovely day!", "--model", str(model)]) == 0
        result = json.loads(capsys.readouterr().out)["result"]
        answers.append({each["label"]: each["score"] for each in result})
    assert answers[0] == pytest.approx(answers[1], rel=1e-4)


def test_it_is_not_offered_for_training(capsys):
    with pytest.raises(SystemExit):
        main(["train", "text-classification", "--backend", "wrapped"])
    assert "must be one of torch, keras, got 'wrapped'" in capsys.readouterr().err


def test_conversions_are_verified_by_frameworks_alone(checkpoint, tmp_path):
    path = checkpoint("TokenClassification")
    assert main(["convert", str(path), str(tmp_path / "out")]) == 0

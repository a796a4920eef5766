"""What holds after a runtime was added."""

from __future__ import annotations

import json

import pytest

from mobilebert.cli import main


def answer(capsys, backend):
    assert main(["predict", "text-classification", "What a lovely day!", "--backend", backend, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_predict_answers(capsys):
    assert answer(capsys, "wrapped") == answer(capsys, "torch")


def test_it_is_not_offered_for_training(capsys):
    with pytest.raises(SystemExit):
        main(["train", "text-classification", "--backend", "wrapped"])
    assert "invalid choice: 'wrapped'" in capsys.readouterr().err


def test_conversions_are_verified_by_frameworks_alone(checkpoint, tmp_path):
    path = checkpoint("TokenClassification")
    assert main(["convert", str(path), str(tmp_path / "out")]) == 0

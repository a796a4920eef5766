"""What holds after a task that can be trained was added."""

from __future__ import annotations

import pytest

from mobilebert.cli import main
from tests.tiny import tiny_config

TASK = "topic-classification"


def test_the_command_shows_its_options(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", TASK, "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(option in shown for option in ("--label-column", "--max-length", "--learning-rate", TASK))


def test_two_steps_train_and_the_model_answers(tmp_path, capsys):
    data, config = tmp_path / "data.csv", tmp_path / "config.json"
    data.write_text("text,label\n" + "a bee,nature\na bank,money\n" * 8, encoding="utf-8")
    config.write_text(tiny_config(vocab_size=9).to_json_string())
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bee", "bank", ".")
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    out = tmp_path / "out"
    arguments = ["train", TASK, "--data", str(data), "--dev", str(data), "--model", str(config), "--output", str(out)]
    assert main([*arguments, "--max-steps", "2", "--batch-size", "8"]) == 0
    capsys.readouterr()
    assert main(["predict", TASK, "a bee", "--model", str(out)]) == 0
    assert capsys.readouterr().out.strip()

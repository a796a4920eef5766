"""What the tests of the commands share."""

from __future__ import annotations

import json

import pytest

from mobilebert.cli import main
from mobilebert_core import MobileBertTokenizerFast
from mobilebert_core.tasks.table import TASKS
from tests.core.test_tasks import VOCABULARY
from tests.parity.train_tasks import WORDS
from tests.tiny import tiny_config


@pytest.fixture
def model(checkpoint, tmp_path):
    def write(task: str, **config):
        path = checkpoint(TASKS[task].head, **config)
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
        MobileBertTokenizerFast(tmp_path / "vocab.txt").save_pretrained(path)
        return str(path)

    return write


@pytest.fixture
def predict(capsys):
    """Runs the command in this process: exit code, records, what was said on stderr."""

    def run(*arguments):
        code = main(["predict", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return run


@pytest.fixture
def here(tmp_path):
    """A directory with a configuration and its vocabulary, from which fresh models start."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz.?!,",
                  *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]  # fmt: skip
    folder = tmp_path / "random"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = tiny_config(vocab_size=len(vocabulary), initializer_range=0.1)
    (folder / "config.json").write_text(config.to_json_string())
    return tmp_path

"""The scripts of the shipped encoder and of the study of knowledge transfer, at a tiny budget."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from mobilebert import pipeline
from scripts import machine, mini_model, transfer_study
from scripts.word_vectors import neighbours, vectors

SUBJECTS = ["the cat", "a dog", "my friend", "the old man", "a child", "the queen", "our teacher", "this bird"]
VERBS = ["sees", "likes", "finds", "paints", "hears", "wants", "follows", "carries"]
ENDS = ["today", "slowly", "again", "at home", "in the garden", "with joy", "by night", "in spring"]


def sentence(rng):
    return f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(SUBJECTS)} {rng.choice(ENDS)} ."


@pytest.fixture
def data(tmp_path):
    """A corpus of 450 documents and the smallest of the tasks, of invented sentences."""
    rng = np.random.default_rng(0)
    documents = ["\n".join(sentence(rng) for _ in range(5)) for _ in range(450)]
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    with lzma.open(tmp_path / "data" / "corpus" / "one.txt.xz", "wt") as file:
        file.write("\n\n".join(documents) + "\n")
    folder = tmp_path / "data" / "tasks" / "snips"
    folder.mkdir(parents=True)
    for split, count in (("train", 64), ("dev", 16)):
        texts = [sentence(rng) for _ in range(count)]
        rows = [{"text": text, "label": "cat" if "cat" in text else "none", "spans": []} for text in texts]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data"


@pytest.fixture
def few_words(monkeypatch):
    for module in (mini_model, transfer_study):
        monkeypatch.setattr(module, "WORDS", 90)


def test_words_that_stand_alike_get_like_vectors(tmp_path):
    """Of the words 1 2 each stands between 5 and 6, of 3 4 between 7 and 8; nothing is counted across rows."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    rows = [(5, word, 6) if word < 3 else (7, word, 8) for word in rng.integers(1, 5, 400)]
    ends = np.arange(1, 401, dtype=np.int64) * 3
    arrays = {"input_ids": np.array(rows, np.uint16).ravel(), "ends": ends}
    save_file(arrays, tmp_path / "rows-00000.safetensors")
    counts, singles = neighbours(tmp_path, 10)
    assert singles.sum() == 1200 and counts[6, 7] == counts[8, 5] == 0 and counts[5, 1] == counts[1, 5] > 0
    assert counts[5, 6] == sum(word < 3 for _, word, _ in rows) * 0.75  # two words apart, of a window of four
    found = vectors(counts, 3, [0])
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert alike[1, 2] > 0.9 and alike[3, 4] > 0.9 and abs(alike[1, 3]) < 0.3


@pytest.mark.slow
@pytest.mark.usefixtures("few_words")
def test_a_study_in_pieces(data, tmp_path, monkeypatch, capsys):
    """It stops when its time is over, goes on where it was, does nothing twice, and reports what there is."""
    work, report = tmp_path / "work", tmp_path / "report"
    command = ["study", str(data), str(work), "--tokens", "1", "--jobs", "1", "--tasks", "snips", "--seeds", "2",
               "--report", str(report)]  # fmt: skip
    original = transfer_study._in_time
    started = []

    def counted(until, run):
        started.append(run.args[1:])
        return False if len(started) == 4 else original(until, run)  # as if the piece ended here

    monkeypatch.setattr(transfer_study, "_in_time", counted)
    monkeypatch.setattr(transfer_study, "BATCH", 4)
    monkeypatch.setattr("sys.argv", command)
    transfer_study.main()
    assert "the same command goes on" in capsys.readouterr().out
    first = (report / "transfer_study.md").read_text()
    assert "of which only what is shown here was run" in first and "| masked words | 1 |" in first
    transfer_study.main()
    assert "done" in capsys.readouterr().out
    page = (report / "transfer_study.md").read_text()
    ways = len(transfer_study.WAYS)
    students = [args for args in started if len(args) == 4]
    assert len(set(students)) == ways + 4 + ways - 1 and "all of the study was run" in page
    assert len(started) == 1 + len(set(students)) + ways + 4 + 1  # the teacher, the tasks, and what was put off
    for way in transfer_study.WAYS:
        assert f"| {way} |" in page
    assert page.count("±") >= 3 and "12 steps of 4 rows" in page and (report / "transfer_study.png").stat().st_size
    before = len(started)
    transfer_study.main()
    assert len(started) == before


@pytest.mark.slow
@pytest.mark.usefixtures("few_words")
def test_the_encoder_is_made_again(data, tmp_path, monkeypatch):
    output = tmp_path / "mobilebert-mini"
    command = ["mini", str(data), str(tmp_path / "work"), "--tokens", "24576", "--teacher-tokens", "4096",
               "--tokens-alone", "8192", "4096", "--seeds", "1", "--tasks", "snips",
               "--output", str(output)]  # fmt: skip
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr(mini_model, "STEPS", {"snips": 6})
    mini_model.main()
    card = " ".join((output / "README.md").read_text().split())
    for part in (
        "| snips: 7 intents, accuracy | 6 |",
        "Standard Ebooks",
        "36,864 tokens, its teacher 4,096,",
        "reads 8,192 and 4,096 without",
    ):
        assert part in card
    assert f"one thread of this machine: {machine.processor()}, float32" in card
    assert {path.name for path in output.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"
    }  # fmt: skip
    assert len(pipeline("fill-mask", str(output))("the [MASK] sees a dog .")) == 5


def test_a_processor_has_a_name_where_no_file_says_it(monkeypatch):
    monkeypatch.setattr(machine, "_CPUS", Path("/no/such/file"))
    assert machine.processor()

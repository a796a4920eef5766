"""Rows in files: what is learned from them is what is learned from memory, from files of every kind."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from conversion.backends import FRAMEWORKS
from mobilebert.cli import main
from mobilebert.training import Training
from mobilebert_core import DEMO_MODEL, CheckpointError, ConfigError, saves
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.training import shards
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.row_arrays import RowArrays
from tests.curves import curve
from tests.tiny import TINY

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(learning_rate=1e-3, batch_size=8, epochs=2)


@pytest.fixture
def place(tmp_path):
    rng = np.random.default_rng(0)
    words = "bees gather light rain sun cold warm sweet bitter quick slow bright loud"
    lines = [" ".join(rng.choice(words.split(), rng.integers(2, 14))) if i % 9 else "" for i in range(1, 90)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n".join(lines[:50]) + "\n")
    with lzma.open(tmp_path / "texts" / "b.txt.xz", "wt") as packed:
        packed.write("\n".join(lines[50:]) + "\n")
    (tmp_path / "README.txt").write_text("not text to learn from\n")
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "vocab_size": 8000}))
    return tmp_path


def training(place: Path, name: str, **settings) -> Training:
    common = {"model": str(place / "config.json"), "tokenizer": str(DEMO_MODEL), "recipe": RECIPE, "progress": False}
    return Training(output=place / name, **{**common, **settings})


TASKS = ["fill-mask", "pretraining", "text-classification", "token-classification", "question-answering"]


@pytest.mark.parametrize("task", [*TASKS, "multiple-choice"])
def test_a_curve_from_shards_is_the_one_from_memory(place, task, monkeypatch):
    monkeypatch.setattr("mobilebert_core.text.token_stream.AT_ONCE", 16)  # so that parts are joined
    monkeypatch.setattr("mobilebert_core.datasets.labelled_tables.HELD", 16)  # and a file is read twice
    lines = [line for line in (place / "texts" / "a.txt").read_text().splitlines() if line]
    rows = {
        "text-classification": ("jsonl", [json.dumps({"text": t, "label": {"a": 0.7, "bcd"[len(t) % 3]: 1.0},
                                                      "text_pair": "rain" if i > 40 else None})
                                          for i, t in enumerate(lines)]),
        "question-answering": ("jsonl", [json.dumps({"question": "What?", "context": f"{t} bees", "answers": [
            {"text": "bees", "answer_start": len(t) + 1}]}) for t in lines]),
        "multiple-choice": ("jsonl", [json.dumps({"text": t, "choices": [t, "rain", "light sun"], "label": len(t) % 3})
                                      for t in lines]),
        "token-classification": ("jsonl", [json.dumps({"tokens": t.split(), "tags": ["O"] * len(t.split())})
                                           for t in lines] + ['{"tokens": ["bees"], "tags": ["B-X"]}']),
    }.get(task, ("txt", (place / "texts" / "a.txt").read_text().splitlines()))  # fmt: skip
    data = place / f"data.{rows[0]}"
    data.write_text("\n".join(rows[1]) + "\n")
    training(place, "memory", task=task, data=data).run()
    results = training(place, "files", task=task, data=data, shards=place / "shards").run()
    assert curve(place / "files").tolist() == curve(place / "memory").tolist()
    assert results["rows"] == json.loads((place / "memory" / "training.json").read_text())["rows"]
    about = json.loads((place / "shards" / "shards.json").read_text())
    assert sum(file["rows"] for file in about["files"].values()) == results["rows"]["train"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_pretrain_from_a_directory_to_a_model(place, backend, capsys):
    command = [
        "pretrain", "--data", str(place / "texts"), "--config", str(place / "config.json"), "--vocab",
        str(DEMO_MODEL / "vocab.txt"), "--output", str(place / "out"), "--batch-size", "8", "--held-out", "5",
        "--epochs", "2", "--max-length", "24", "--backend", backend,
    ]  # fmt: skip
    assert main(command) == 0
    found = json.loads((place / "out" / "training.json").read_text())
    assert {"masked_accuracy", "next_sentence_accuracy", "loss"} <= found["dev"].keys()
    assert found["rows"]["dev"] == (found["rows"]["train"] + found["rows"]["dev"]) // 5
    assert [file["file"] for file in found["settings"]["data"]["train"]] == ["a.txt", "b.txt.xz"]
    assert (place / "out.shards" / "shards.json").exists() and (place / "out" / "model.safetensors").exists()
    made = (place / "out.shards" / "rows-00000.safetensors").stat().st_mtime_ns
    packed = [*command, "--rows", "packed", "--output", str(place / "packed"), "--shards", str(place / "out.shards")]
    assert main(packed) == 2 and "made from something else (task, options, seed differ)" in capsys.readouterr().err
    again = [*command, "--output", str(place / "again"), "--shards", str(place / "out.shards"), "--mask-share", "0.3"]
    assert main(again) == 0
    assert (place / "out.shards" / "rows-00000.safetensors").stat().st_mtime_ns == made
    with (place / "texts" / "a.txt").open("a") as more:
        more.write("one more\n")
    assert main([*again, "--output", str(place / "other")]) == 2
    assert "something else (data differ)" in capsys.readouterr().err


def test_rows_that_are_held_out_or_too_few(place):
    """Of labelled rows in shards too; what is left out is named without the path of this machine."""
    (place / "parts" / "more").mkdir(parents=True)
    rows = ["text,label", *(f"{word} rain,{word}" for word in ("warm", "cold") * 6), "broken"]
    (place / "parts" / "a.csv").write_text("\n".join(rows) + "\n")
    settings = {
        "task": "text-classification", "data": str(place / "parts" / "*"), "tune_thresholds": True,
        "read": ReadOptions(skip_bad_rows=True, label_separator="|"), "changes": {"epochs": 1},
    }  # fmt: skip
    results = training(place, "out", held_out=3, **settings).run()
    assert results["rows"] == {"train": 8, "dev": 4} and "f1_micro" in results["dev"]
    assert results["skipped"] == ["a.csv:14: wanted 2 columns, got 1: ['broken']."]
    with pytest.raises(ConfigError, match="thresholds are tuned on dev rows, there are none"):
        training(place, "other", held_out=7, **settings).run()
    results = training(place, "third", held_out=7, **{**settings, "tune_thresholds": False}).run()
    assert "train: 12 rows are too few to hold out one of 7; nothing is evaluated" in results["notes"]


def test_damaged_rows_are_refused(place):
    settings = {"task": "fill-mask", "data": place / "texts" / "a.txt", "shards": place / "shards"}
    training(place, "first", **settings).run()
    rows = place / "shards" / "rows-00000.safetensors"
    whole = rows.read_bytes()
    for damaged in (whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1]), b"x" * 40):
        rows.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="wanted the rows that were written, got another or a damaged file"):
            training(place, "second", **settings).run()
    rows.unlink()
    with pytest.raises(CheckpointError, match="rows-00000.safetensors"):
        training(place, "second", **settings).run()
    with pytest.raises(ConfigError, match="wanted a new or empty directory for shards, got other files"):
        training(place, "third", **{**settings, "shards": place / "texts"}).run()


@pytest.mark.parametrize("own", [True, False])
def test_a_changed_record_of_rows_is_refused(tmp_path, monkeypatch, own):
    """Files that it does not name used to be left out without a word, and their order was that of its text."""
    monkeypatch.setattr(shards, "_SHARD_BYTES", 32)
    parts = [RowArrays({"input_ids": np.full(8, n, np.uint16), "ends": np.array([8])}) for n in range(3)]
    shards.write_shards(tmp_path / "rows", parts, {}, dict)
    path = tmp_path / "rows" / "shards.json"
    about = json.loads(path.read_text())
    if not own:  # of an earlier version
        del about["shards_sha256"]
    about["files"] = dict(reversed(about["files"].items()))
    path.write_text(json.dumps(about))
    rows = shards.ShardedRows(tmp_path / "rows", lambda ids, *more: ids[0])
    assert [rows[n] for n in range(3)] == [0, 1, 2]
    del about["files"]["rows-00001.safetensors"]
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="shards.json: wanted the rows that were written"):
        shards.ShardedRows(tmp_path / "rows", lambda *row: row)


@pytest.mark.parametrize("tokens", [1, 200])
def test_a_file_of_rows_is_no_larger_however_short_they_are(tmp_path, monkeypatch, tokens):
    """A file is what is in memory while rows are written."""
    monkeypatch.setattr(shards, "_SHARD_BYTES", 1 << 15)
    ids, ends, labels = np.ones(20 * tokens, np.uint16), np.arange(1, 21) * tokens, np.zeros(20, np.int64)
    part = RowArrays({"input_ids": ids, "ends": ends, "labels": labels})
    shards.write_shards(tmp_path / "rows", [part] * 200, {}, dict)
    rows = shards.ShardedRows(tmp_path / "rows", lambda *row: row)
    assert len(rows) == 4000 and set(rows.lengths) == {tokens} and rows[3999] == ([1] * tokens, [0] * tokens, 0, 3999)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "rows").glob("*.safetensors"))]
    assert len({path.stat().st_mode for path in (tmp_path / "rows").iterdir()}) == 1  # of whoever may read the others
    assert len(sizes) > 1 and max(sizes) < (1 << 15) + 20 * (2 * tokens + 16) + 400


def test_rows_that_another_process_has_written_meanwhile_stay(tmp_path):
    part = RowArrays({"input_ids": np.ones(8, np.uint16), "ends": np.array([8])})
    folder, same = tmp_path / "rows", {"max_length": 8}

    def overtaken(made_from):
        yield part
        shards.write_shards(folder, [part], made_from, dict)
        found.update((path, path.stat().st_ino) for path in folder.iterdir())

    for made_from, refused in ((same, False), ({"max_length": 9}, True)):
        found: dict[Path, int] = {}
        with pytest.raises(ConfigError, match="made from something else") if refused else nullcontext():
            shards.write_shards(folder, overtaken(made_from), same, dict)
        assert {path: path.stat().st_ino for path in folder.iterdir()} == found  # nobody loses what is just read
        assert json.loads((folder / "shards.json").read_text())["made_from"] == made_from
        shutil.rmtree(folder)
    assert not [*tmp_path.iterdir()]


def test_rows_of_a_process_that_was_killed_while_they_took_their_places(tmp_path, monkeypatch):
    part = RowArrays({"input_ids": np.ones(8, np.uint16), "ends": np.array([8])})
    folder = tmp_path / "rows"
    folder.mkdir()

    def killed(source, target):
        if target.name == "shards.json":
            raise KeyboardInterrupt
        placed(source, target)

    with monkeypatch.context() as patched:
        placed = saves._place
        patched.setattr(saves, "_place", killed)
        with pytest.raises(KeyboardInterrupt):
            shards.write_shards(folder, [part], {}, dict)
    assert (folder / "rows-00000.safetensors").exists() and not (folder / "shards.json").exists()
    assert shards.made_from_same(folder, {}) and len(shards.ShardedRows(folder, lambda *row: row)) == 1


KILLED = """
import sys
from pathlib import Path
from mobilebert_core.training import shards
from mobilebert_core.training.row_arrays import RowArrays
import numpy as np, time
def parts():
    for n in range(10**6):
        yield RowArrays({"input_ids": np.ones(8, np.uint16), "ends": np.array([8])})
        if n == 9: print("begun", flush=True)
        time.sleep(0.01 if n > 9 else 0)
shards._SHARD_BYTES = 32
shards.write_shards(Path(sys.argv[1]), parts(), {}, dict)
"""


def test_what_was_killed_leaves_no_rows(place):
    folder = place / "shards"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not folder.exists()
    training(place, "out", task="fill-mask", data=place / "texts" / "a.txt", shards=folder).run()
    assert not [path for path in place.iterdir() if path.name.startswith(".")]

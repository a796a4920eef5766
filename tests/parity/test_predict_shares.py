"""An input cut into shares of several jobs is answered as in one, to the last digit; and answers as Parquet."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from pyarrow import parquet

from mobilebert.cli import main
from mobilebert.commands import parquet_answers
from mobilebert.commands.parquet_answers import ParquetAnswers
from mobilebert_core import DEMO_MODEL, InputError, MobileBertTokenizerFast
from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.errors import SaveError
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small model, and 70 rows of very different lengths, of which some are broken."""
    import torch

    from mobilebert_torch import MobileBertForSequenceClassification

    place = tmp_path_factory.mktemp("shares")
    torch.manual_seed(0)
    config = tiny_config(vocab_size=8000, initializer_range=0.2)
    MobileBertForSequenceClassification(config).save_pretrained(place / "model")
    MobileBertTokenizerFast(str(DEMO_MODEL / "vocab.txt"), model_max_length=37).save_pretrained(place / "model")
    rng = np.random.default_rng(0)
    lines = [json.dumps({"id": n, "text": " ".join(rng.choice(["bee", "sun", "cold"], rng.integers(1, 30)))})
             for n in range(70)]  # fmt: skip
    lines[20], lines[33] = '{"id": 20, "text": 3}', "no JSON"
    (place / "input.jsonl").write_text("\n".join(lines) + "\n")
    return place


def predict(place, output, *more):
    command = ["predict", "text-classification", "--model", str(place / "model"), "--input", str(place / "input.jsonl"),
               "--output", str(output), "--batch-size", "2", "--top-k", "2", *more]  # fmt: skip
    return main(command)


def test_shares_answer_what_one_job_does(place, tmp_path, capsys):
    assert predict(place, tmp_path / "whole.jsonl") == 1  # two lines are broken
    whole = (tmp_path / "whole.jsonl").read_text().splitlines()
    assert len(whole) == 68
    for count in (1, 3, 7):
        parts = []
        for number in range(1, count + 1):
            part = tmp_path / f"{number}-{count}.jsonl"
            predict(place, part, "--shard", f"{number}/{count}")
            parts += part.read_text().splitlines()
        assert sorted(parts, key=lambda line: json.loads(line)["line"]) == whole
    capsys.readouterr()
    assert predict(place, tmp_path / "1-3.jsonl", "--shard", "2/3", "--resume") == 2
    assert "shard was '1/3', now '2/3'" in capsys.readouterr().err
    assert predict(place, tmp_path / "1-3.jsonl", "--shard", "1/3", "--resume", "--batch-size", "4") == 2
    assert "inputs in a row was 32, now 64" in capsys.readouterr().err
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(SystemExit):
            predict(place, tmp_path / "wrong.jsonl", "--shard", wrong)
        assert "wanted I/N with I from 1 to N" in capsys.readouterr().err


def test_answers_as_parquet(place, tmp_path, capsys):
    predict(place, tmp_path / "whole.jsonl")
    predict(place, tmp_path / "out.parquet")
    wanted = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == wanted
    assert predict(place, tmp_path / "empty.parquet", "--shard", "7/7") == 1
    assert parquet.read_table(tmp_path / "empty.parquet").to_pylist() == []
    before = (tmp_path / "out.parquet").read_bytes()
    assert predict(place, tmp_path / "out.parquet", "--resume") == 2
    assert "--resume is for JSON lines" in capsys.readouterr().err
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".parquet") == [
        "empty.parquet",
        "out.parquet",
    ]


def test_a_share_without_rows_is_not_taken_for_a_file_without_rows(place, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("a bee\n")
    command = ["--input", str(tmp_path / "few.txt"), "--shard", "2/2"]
    assert predict(place, tmp_path / "few.jsonl", *command) == 0
    assert capsys.readouterr().err == f"mobilebert: {tmp_path / 'few.txt'}: 0 rows for --shard 2/2, nothing to answer\n"


def written(path, rows):
    """The table of answers (result, what is kept of the input)."""
    with ParquetAnswers(path, False) as answers:
        for line, (result, kept) in enumerate(rows, 1):
            answers.write(InputRow(line, {}, kept), result)
        answers.finished = True
    return parquet.read_table(path).to_pylist()


@pytest.fixture
def two_at_once(monkeypatch):
    monkeypatch.setattr(parquet_answers, "_ROWS_AT_ONCE", 2)


def test_types_of_parquet_are_those_of_values(tmp_path, two_at_once):
    """Empty lists have none; a column is that of any row; whole numbers among others are numbers."""
    results = [[], [], [], [{"entity": "x", "score": 0.5}], [{"entity": "y", "score": 1}], []]
    found = written(tmp_path / "a.parquet", [(each, {"id": n} if n % 2 else {}) for n, each in enumerate(results)])
    assert [row["result"] for row in found] == results
    assert [row["id"] for row in found] == [None, 1, None, 3, None, 5]
    assert written(tmp_path / "b.parquet", [([], {"id": None})] * 3)[2] == {"line": 3, "id": None, "result": []}


@pytest.mark.parametrize(
    "rows",
    [
        [([1], {}), ([2], {}), ([1.5], {})],
        [({"a": 1}, {}), ({"a": 2}, {}), ({"a": 3, "b": 4}, {})],
        [([1], {}), ([2], {}), ([3], {"id": 1})],
        [([1], {"id": "a"}), ([2], {"id": 3})],
    ],
)
def test_answers_that_parquet_cannot_hold_beside_others_are_refused(tmp_path, two_at_once, rows):
    with pytest.raises(InputError, match="wanted answers of one type, as those before"):
        written(tmp_path / "a.parquet", rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["write_table", "close"])
def test_a_full_disk_leaves_no_parquet(tmp_path, monkeypatch, method):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, method, full)
    with pytest.raises(SaveError, match="what was there before is kept"):
        written(tmp_path / "a.parquet", [([1], {})])
    assert not list(tmp_path.iterdir())

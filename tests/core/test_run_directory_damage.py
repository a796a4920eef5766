"""A run directory whose files were cut, changed or taken away: it is refused with an error of ours, or it is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilebert_core import CheckpointError, ConfigError
from mobilebert_core.errors import MobileBertError
from mobilebert_core.training.run_directory import RunDirectory
from tests.core.test_training import FakeTrainer

SETTINGS = {"recipe": {"seed": 1}, "sha256": {"model": {"model.safetensors": "0" * 64}}}
PROGRESS = {"step": 3, "best": {"step": 3, "epoch": 0.3, "f1": 0.5}, "newly_initialized": ["classifier.bias"]}
STRANGE: list[Any] = [None, 7, -1, 2.5, "x", True, [], [1], {}, {"x": []}]


@pytest.fixture
def whole(tmp_path) -> Path:
    """A training that was killed after its fifth step, with a state of its third."""
    first = RunDirectory(tmp_path / "whole", SETTINGS, False)
    first.begin(0)
    for step in range(1, 6):
        first.line(step, step / 10, 0.1, 1 / 3)
        if step == 3:
            first.scored(3, 0.3, {"f1": 0.5})
            first.save(FakeTrainer(3), PROGRESS)
    first.close()
    return tmp_path / "whole"


def goes_on(output: Path) -> dict[str, Any]:
    again = RunDirectory(output, SETTINGS, True)
    state, progress = again.load()
    assert state["steps"].tolist() == [3]
    again.begin(progress["step"])
    again.close()
    return progress


def changed_values(value: Any) -> Iterator[Any]:
    """A JSON value with each of its parts taken away or replaced by something strange, one at a time."""
    yield from STRANGE
    if isinstance(value, dict):
        for name in value:
            rest = {other: each for other, each in value.items() if other != name}
            yield rest
            for changed in changed_values(value[name]):
                yield rest | {name: changed}
    elif isinstance(value, list):
        for place in range(len(value)):
            for changed in changed_values(value[place]):
                yield [*value[:place], changed, *value[place + 1 :]]


@pytest.mark.parametrize("name", ["training.json", "resume/progress.json"])
def test_values_of_another_type(whole, name):
    content = (whole / name).read_text()
    refused = 0
    for value in changed_values(json.loads(content)):
        (whole / name).write_text(json.dumps(value))
        before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
        try:
            found = RunDirectory(whole, SETTINGS, True)
        except MobileBertError:
            refused += 1
        else:  # the other value means something as well, such as another score
            assert found.settings == SETTINGS and type(found.load()[1]["step"]) is int
        assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert refused > 20


@pytest.mark.parametrize(
    "name", ["training.json", "resume/progress.json", "resume/state.safetensors", "resume/model", "curves.csv"]
)
def test_files_that_were_cut_or_changed(whole, name):
    assert goes_on(whole) == PROGRESS
    content = (whole / name).read_bytes()
    for cut in {0, len(content) // 2, len(content) - 2} - {-1}:
        (whole / name).write_bytes(content[:cut])
        with pytest.raises((CheckpointError, ConfigError)):
            goes_on(whole)
    for other in (b"\xff\xfe", b"\x00" * 40, b'"', b"[" * 100_000, b"a,b\n1,2\n"):
        (whole / name).write_bytes(other)
        with pytest.raises((CheckpointError, ConfigError)):
            goes_on(whole)
    (whole / name).unlink()
    with pytest.raises((CheckpointError, ConfigError)):
        goes_on(whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "wanted a curve, CSV with a column step, got the columns a, b"),
        ("step,loss\n1,0.5\n2,0.4\n3,0.3\n", "wanted the columns step, epoch, learning_rate, loss with numbers"),
        ("step,epoch,learning_rate,loss\n1,0.1,0.1,0.5\n3,0.3,0.1,0.3\n", "none for step 2 in its place"),
        ("step,epoch,learning_rate,loss\n1,0.1,0.1,x\n2,0.2,0.1,1\n3,0.3,0.1,1\n", "with numbers, got 1, 0.1, 0.1, x"),
        ("step,epoch,learning_rate,loss\n1,.1,.1,1\n2,.1,.1,1\n2,.2,.1,1\n3,.3,.1,1\n", "none for step 3 in its"),
    ],
)
def test_a_curve_of_something_else(whole, text, message):
    (whole / "curves.csv").write_text(text)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        goes_on(whole)
    assert (whole / "curves.csv").read_text() == text


@pytest.mark.parametrize("name", ["curves.csv", "scores.csv"])
def test_every_digit_of_a_curve_is_what_was_written(whole, name):
    """Another number, or evaluations that were gone, went into the curves of the resumed training."""
    content = (whole / name).read_bytes()
    saved = content.index(b"\n4,") + 1 if name == "curves.csv" else len(content)  # what comes later is made again
    changed = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(saved)]
    refused = 0
    for other in (*changed, content[: saved // 2], b""):
        (whole / name).write_bytes(other)
        try:
            goes_on(whole)
        except CheckpointError:
            refused += 1
        else:  # another end of a line, which is one as well
            assert (whole / name).read_bytes() == content[:saved]
    assert refused >= saved
    (whole / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: wanted"):
        goes_on(whole)
    for more in (b"7,", content):
        (whole / name).write_bytes(content + more)
        assert goes_on(whole) == PROGRESS and (whole / name).read_bytes() == content[:saved]


def test_scores_of_something_else(whole):
    (whole / "scores.csv").write_text("step,epoch,f1\n3,0.3,high\n")
    with pytest.raises(CheckpointError, match="scores.csv: wanted steps, epochs and scores, all numbers"):
        goes_on(whole)


def test_messages_name_the_file_and_what_was_wanted(whole):
    (whole / "resume" / "progress.json").write_text("{}")
    with pytest.raises(CheckpointError, match='progress.json: wanted "step" to be a number of steps, got nothing'):
        RunDirectory(whole, SETTINGS, True)
    (whole / "training.json").write_text('{"finished": true}')
    with pytest.raises(CheckpointError, match="training.json: wanted the settings of a training, an object, got noth"):
        RunDirectory(whole, SETTINGS, True)


def test_results_of_a_finished_training(whole):
    results = {"rows": {"train": 3}, "notes": ["n"], "skipped": [], "dev": {"f1": 0.5}, "finished": True}
    text = json.dumps({"settings": SETTINGS, **results})
    (whole / "training.json").write_text(text)
    (whole / "model").touch()
    assert RunDirectory(whole, SETTINGS, True).finished
    for name in ("notes", "skipped", "dev", "finished"):
        for strange in (None, 7, "x", [1], {"x": []}):
            if name == "dev" and strange is None:
                continue
            (whole / "training.json").write_text(json.dumps(json.loads(text) | {name: strange}))
            with pytest.raises(CheckpointError, match=f'wanted "{name}" to be'):
                RunDirectory(whole, SETTINGS, True)


@pytest.mark.parametrize("other", [{"step": 0}, {"step": 2}, {"best": {}}, {"evaluation_due": True}])
def test_another_progress_of_the_right_form_is_refused(whole, other):
    """It would take up the training elsewhere than the weights are, without a word."""
    path = whole / "resume" / "progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    with pytest.raises(CheckpointError, match="progress.json: wanted the progress that was saved, got another"):
        RunDirectory(whole, SETTINGS, True)


class FakeTokenizer:
    def save_pretrained(self, directory):
        (directory / "vocab.txt").write_text("a")


def test_the_best_model_so_far_is_whole_or_refused(whole):
    """Where no later one is better, it is the result."""
    again = RunDirectory(whole, SETTINGS, True)
    again.begin(3)
    again.keep(FakeTrainer(3), FakeTokenizer())
    again.close()
    assert goes_on(whole) == PROGRESS
    for name in ("model", "vocab.txt"):
        content = (whole / name).read_bytes()
        (whole / name).write_bytes(content + b"x")
        with pytest.raises(CheckpointError, match=f"best model so far cannot be read .{name} is not what was saved"):
            RunDirectory(whole, SETTINGS, True)
        (whole / name).unlink()
        with pytest.raises(CheckpointError, match=f"best model so far cannot be read .{name} is gone"):
            RunDirectory(whole, SETTINGS, True)
        (whole / name).write_bytes(content)
    again = RunDirectory(whole, SETTINGS, True)
    again.begin(3)
    again.end(notes=[], skipped=[], dev={})
    again.close()
    assert not {".best.json", ".lock", "resume"} & {path.name for path in whole.iterdir()}


def test_what_a_kill_at_the_very_end_left_goes(whole):
    results = {"notes": [], "skipped": [], "finished": True}
    (whole / "training.json").write_text(json.dumps({"settings": SETTINGS, **results}))
    (whole / ".lock").touch()
    assert RunDirectory(whole, SETTINGS, True).finished
    assert sorted(path.name for path in whole.iterdir()) == ["curves.csv", "scores.csv", "training.json"]

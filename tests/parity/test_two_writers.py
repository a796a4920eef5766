"""Two processes with one output: the second is refused, and a lock ends with the process that had it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert.cli import main
from mobilebert_core import ConfigError
from mobilebert_core.file_lock import DirectoryLock
from mobilebert_core.training.run_directory import RunDirectory
from tests.core.test_training import FakeTrainer

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from pathlib import Path; from mobilebert_core.training.run_directory import RunDirectory\n"
    "run = RunDirectory(Path(sys.argv[1]), {}, True); run.begin(0); print('begun', flush=True); sys.stdin.read()"
)
HOLD_FILE = (
    "import sys; from mobilebert_core.file_lock import lock\n"
    "file = open(sys.argv[1], 'a'); print('begun' if lock(file.fileno()) else 'refused', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder():
    """Starts a process that writes somewhere, and waits until it has begun."""
    started = []

    def start(code: str, place: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        started.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_training_is_refused_until_the_first_is_killed(tmp_path, holder):
    out = tmp_path / "out"
    process = holder(HOLD, out)
    (out / ".mobilebert-save-1234").mkdir()  # as while it saves
    before = sorted(path.name for path in out.iterdir())
    with pytest.raises(ConfigError, match="out: wanted a place of its own .* where another process writes"):
        RunDirectory(out, {}, True)
    assert sorted(path.name for path in out.iterdir()) == before
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = RunDirectory(out, {}, True)
    again.begin(0)
    again.close()
    assert not (out / DirectoryLock.name).exists()


def test_both_began_before_either_wrote(tmp_path):
    first, second = RunDirectory(tmp_path / "out", {}, False), RunDirectory(tmp_path / "out", {}, False)
    first.begin(0)
    with pytest.raises(ConfigError, match="another process writes"):
        second.begin(0)
    first.line(1, 0.1, 0.1, 1.0)
    first.save(FakeTrainer(1), {"step": 1, "best": {}})
    first.close()
    with pytest.raises(ConfigError, match="another process writes"):
        second.begin(0)  # what it saw is no longer there
    assert RunDirectory(tmp_path / "out", {}, True).load()[1]["step"] == 1


def test_the_curve_of_a_resumed_training_lacks_no_step(tmp_path):
    for done in (0, 2, 4):
        run = RunDirectory(tmp_path / "out", {}, True)
        run.begin(done)
        for step in range(done + 1, done + 4):  # one more than it saves
            run.line(step, 0.1, 0.1, 1.0)
            if step == done + 2:
                run.save(FakeTrainer(step), {"step": step, "best": {}})
        run.close()
    lines = (tmp_path / "out" / "curves.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step", *"1234567"]


def test_a_second_prediction_is_refused(tmp_path, holder, capsys):
    out = tmp_path / "out.jsonl"
    out.write_text('{"line": 1}\n')
    process = holder(HOLD_FILE, out)
    for options in ((), ("--resume",)):
        assert main(["predict", "text-classification", "I love this!", "--output", str(out), *options]) == 2
        assert "another process writes" in capsys.readouterr().err and out.read_text() == '{"line": 1}\n'
    process.kill()
    process.wait()
    assert main(["predict", "text-classification", "I love this!", "--output", str(out)]) == 0
    assert json.loads(out.read_text())["line"] == 1 and "love" in out.read_text()


def test_what_is_no_file_needs_no_record():
    assert main(["predict", "text-classification", "I love this!", "--output", os.devnull]) == 0
    assert not Path(os.devnull).with_name(".null.resume.json").exists()

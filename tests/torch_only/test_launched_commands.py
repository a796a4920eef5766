"""`mobilebert pretrain` and `distill` under torchrun: what one process learns, killed and resumed on another number."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mobilebert.cli import main
from mobilebert_core import MobileBertConfig, MobileBertTokenizerFast
from mobilebert_core.demo_model import DEMO_VOCABULARY
from mobilebert_core.training.loop import TrainingLoop
from tests.curves import curve
from tests.tiny import BRANCHES, TINY

ROOT = Path(__file__).parents[2]
WORDS = ["bees", "gather", "light", "rain", "sun", "cold", "warm", "sweet", "bitter", "quick", "slow", "loud", "honey"]
STEPS = 60


@pytest.fixture
def commands(checkpoint, tmp_path):
    """What is passed to each command but the output: as the guides have it, with a tiny model that drops nothing."""
    rng = np.random.default_rng(0)
    documents = ["\n".join(" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(5)) for _ in range(30)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents) + "\n")
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes = {**TINY, **without, "vocab_size": 8000, "num_feedforward_networks": 1, "initializer_range": 0.1}
    teacher = checkpoint("PreTraining", name="teacher", **{**sizes, **BRANCHES["teacher"]})
    MobileBertTokenizerFast(str(DEMO_VOCABULARY)).save_pretrained(teacher)
    MobileBertConfig(**sizes).to_json_file(tmp_path / "config.json")
    numbers = f"--max-steps {STEPS} --batch-size 8 --max-length 32 --save-every 3 --epochs 50 --learning-rate 2e-3"
    common = ["--data", str(tmp_path / "text.txt"), "--shards", str(tmp_path / "rows"), *numbers.split()]
    config = str(tmp_path / "config.json")
    return {
        "pretrain": ["pretrain", "--config", config, "--vocab", str(DEMO_VOCABULARY), "--held-out", "9", *common],
        "distill": ["distill", "--teacher", str(teacher), "--student", config, *common],
    }


def by_two(words: list[str], place: Path) -> subprocess.Popen[str]:
    """Starts a command in two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*launch, "-m", "mobilebert", *words], cwd=place, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def by_two_machines(words: list[str], place: Path) -> list[subprocess.Popen[str]]:
    """Starts a command as the guide does on two machines, with a device each."""
    page = (ROOT / "docs" / "guides" / "many_machines.md").read_text()
    (options,) = re.findall(r"^    torchrun (--nnodes 2 .*) \\\n +-m mobilebert train \.\.\.$", page, flags=re.M)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = {"--nproc-per-node 8": "--nproc-per-node 1", "first-machine": "127.0.0.1", "29400": port}
    for there, replacement in here.items():
        assert there in options
        options = options.replace(there, replacement)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launches = [options.replace("--node-rank 0", f"--node-rank {number}").split() for number in range(2)]
    return [subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *launch, "-m", "mobilebert", *words],
                             cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for launch in launches]  # fmt: skip


def workers(launcher: int) -> list[int]:
    """The processes that a launcher has started to train."""
    started = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(each) for each in started if b"mobilebert" in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pretrain", "distill"])
def test_killed_under_torchrun_and_resumed_by_another_number(commands, command, tmp_path, monkeypatch):
    words = [*commands[command], "--output"]
    whole, by_two_first, by_one_first = (tmp_path / name for name in ("whole", "begun by two", "begun by one"))
    assert main([*words, str(whole)]) == 0

    killed = by_two([*words, str(by_two_first)], tmp_path)
    while not (by_two_first / "resume").exists():
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.005)
    os.kill(workers(killed.pid)[-1], signal.SIGKILL)
    assert killed.communicate(timeout=60) and killed.returncode
    assert len(curve(by_two_first)) < STEPS
    assert main([*words, str(by_two_first), "--resume"]) == 0

    steps, shown = [], TrainingLoop._show

    def stop(self, *rest):
        shown(self, *rest)
        steps.append(rest)
        if len(steps) == STEPS // 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLoop, "_show", stop)
        assert main([*words, str(by_one_first)]) == 130
    resumed = by_two([*words, str(by_one_first), "--resume"], tmp_path)
    said = resumed.communicate(timeout=280)
    assert resumed.returncode == 0 and said[0].count(": the model, with its card in README.md") == 1, said
    assert len(curve(whole)) == STEPS and np.ptp(curve(whole)) > 0.01
    for output in (by_two_first, by_one_first):
        np.testing.assert_allclose(curve(output), curve(whole), rtol=1e-6, err_msg=output.name)


@pytest.mark.slow
def test_two_launchers_train_together(commands, tmp_path):
    words = [*commands["pretrain"], "--max-steps", "4", "--output"]
    assert main([*words, str(tmp_path / "alone")]) == 0
    machines = by_two_machines([*words, str(tmp_path / "together")], tmp_path)
    try:
        said = [machine.communicate(timeout=280) for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert sum(output.count(": the model, with its card in README.md") for output, _ in said) == 1
    assert len(curve(tmp_path / "alone")) == 4
    np.testing.assert_allclose(curve(tmp_path / "together"), curve(tmp_path / "alone"), rtol=1e-6)

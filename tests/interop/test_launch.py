"""accelerate's launcher: the command of the guide trains in two processes as one process trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilebert.cli import main
from mobilebert_core import DEMO_MODEL, AutoTokenizer
from mobilebert_core.demo_model import DEMO_VOCABULARY
from tests.curves import curve
from tests.pages import BLOCK, ROOT
from tests.tiny import BRANCHES, tiny_config

PAGE = (ROOT / "docs" / "guides" / "many_machines.md").read_text()
DEMO = '--model $(python -c "import mobilebert; print(mobilebert.DEMO_MODEL)")'  # it has dropout, so draws differ


def launched(command: str, folder: Path) -> str:
    variables = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT),
        "HOME": str(folder), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(command, shell=True, cwd=folder, env=variables, text=True, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def config(tmp_path):
    """A tiny model that drops nothing."""
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny_config(vocab_size=8000, initializer_range=0.1, **without).to_json_file(tmp_path / "config.json")
    return tmp_path / "config.json"


@pytest.fixture(scope="module")
def launch():
    """The launcher's part of the guide's command, and what it starts."""
    (command,) = re.findall(r"^    (accelerate launch .*?)(?=\n\n)", PAGE, flags=re.M | re.S)
    launcher, _, words = re.sub(r"\\\n *", "", command).partition(" -m mobilebert ")
    return launcher, words.replace(DEMO, f"--model config.json --tokenizer {DEMO_MODEL}")


@pytest.mark.usefixtures("config")
def test_the_command_of_the_guide_learns_what_one_process_does(launch, tmp_path, monkeypatch):
    launcher, words = launch
    for language, title, block in BLOCK.findall(PAGE):
        if language == "csv":
            (tmp_path / title).write_text(block)
    words += " --classifier-dropout 0"
    launched(f"{launcher} -m mobilebert {words}", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(words.replace("--output classifier", "--output alone").split()) == 0
    one, two = curve(tmp_path / "alone"), curve(tmp_path / "classifier")
    assert len(one) == 4 and np.ptp(one) > 1e-3
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.parametrize("command", ["pretrain", "distill"])
def test_text_is_learned_from_in_the_same_way(launch, config, checkpoint, tmp_path, monkeypatch, command):
    launcher, _ = launch
    rng = np.random.default_rng(0)
    words = ["bees", "gather", "light", "rain", "sun", "cold", "warm", "sweet", "bitter", "quick", "slow", "loud"]
    text = "\n\n".join("\n".join(" ".join(rng.choice(words, 6)) for _ in range(5)) for _ in range(20))
    (tmp_path / "text.txt").write_text(text + "\n")
    start = f"--config {config.name} --vocab {DEMO_VOCABULARY}"
    if command == "distill":
        teacher = checkpoint("PreTraining", **{**json.loads(config.read_text()), **BRANCHES["teacher"]})
        AutoTokenizer.from_pretrained(DEMO_MODEL).save_pretrained(teacher)
        start = f"--student {config.name} --teacher {teacher}"
    words = f"{command} {start} --data text.txt --max-steps 12 --batch-size 4 --max-length 32 --learning-rate 2e-3"
    launched(f"{launcher} -m mobilebert {words} --output two", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(f"{words} --output alone".split()) == 0
    one, two = curve(tmp_path / "alone"), curve(tmp_path / "two")
    assert len(one) == 12 and np.ptp(one) > 1e-3
    np.testing.assert_allclose(two, one, rtol=1e-6)


def test_it_starts_several_processes_on_cpus_where_it_is_told(launch, tmp_path):
    launcher, _ = launch
    for switch, processes in (("--multi_gpu", 2), ("--cpu", 1)):
        said = launched(f"{launcher.replace('--multi_gpu', switch)} --no_python env", tmp_path).splitlines()
        assert sum(line.startswith("MASTER_PORT=") for line in said) == processes, switch
        assert said.count("WORLD_SIZE=2") == (processes if processes > 1 else 0), switch

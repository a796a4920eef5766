"""The examples run as they stand, and several processes learn what one does."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import mobilebert
from mobilebert_core import DEMO_MODEL, MobileBertTokenizerFast
from tests.tiny import tiny_config

ROOT = Path(__file__).parents[1]


@pytest.fixture
def start(tmp_path):
    """A small checkpoint with its tokenizer, and with other labels than the examples have."""
    import torch

    from mobilebert_torch import MobileBertForSequenceClassification

    torch.manual_seed(0)
    config = tiny_config(vocab_size=8000, attention_probs_dropout_prob=0.0, initializer_range=0.1, num_labels=3)
    MobileBertForSequenceClassification(config).save_pretrained(tmp_path / "start")
    tokenizer = MobileBertTokenizerFast(str(DEMO_MODEL / "vocab.txt"), model_max_length=37)
    tokenizer.save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def run(command: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr  # whole: what a process of several said stands first
    return done.stdout


@pytest.mark.parametrize("name", ["finetune_torch", "finetune_keras"])
@pytest.mark.slow
def test_an_example_teaches_the_model_that_ships_and_both_backends_read_it(name, tmp_path):
    run([sys.executable, f"examples/{name}.py", str(DEMO_MODEL), str(tmp_path / "out")])
    for backend in ("torch", "keras"):
        classify = mobilebert.pipeline("text-classification", tmp_path / "out", backend=backend, top_k=1)
        assert [each["label"] for each in classify(["I love this!", "This is awful."])] == ["good", "bad"]


@pytest.mark.slow
def test_processes_that_share_the_work_learn_what_one_does(start, tmp_path):
    found = {}
    for mode, processes in (("ddp", 1), ("ddp", 2), ("fsdp", 2)):
        out = tmp_path / f"{mode}{processes}"
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        output = run([sys.executable, *launch, "examples/finetune_distributed.py", mode, str(start), str(out)])
        found[mode, processes] = np.array([float(loss) for loss in re.findall(r"loss ([\d.]+)", output)])
        assert load_file(out / "model.safetensors").keys() == load_file(start / "model.safetensors").keys()
    assert len(found["ddp", 1]) == 12
    assert np.abs(found["ddp", 2] / found["ddp", 1] - 1).max() < 1e-6
    assert np.abs(found["fsdp", 2] / found["ddp", 2] - 1).max() < 1e-6


def test_processes_that_cannot_share_a_step_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: None)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    monkeypatch.setattr("sys.argv", ["finetune_distributed.py", "ddp", "checkpoint", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="wanted 1, 2, 4 or 8 processes, which share the 8 rows of a step, got 3"):
        runpy.run_path(str(ROOT / "examples" / "finetune_distributed.py"))
    assert not list(tmp_path.iterdir())

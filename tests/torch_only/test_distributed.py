"""Training over two processes: the numbers of one, one writer, and a state from which any number of them goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from safetensors.numpy import load_file

from mobilebert.distillation import Distillation
from mobilebert.training import Training
from mobilebert_core import DEMO_MODEL, AutoTokenizer, ConfigError, TrainingError
from mobilebert_core.processes import Launch
from mobilebert_core.training.knowledge_transfer import TransferSettings
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from mobilebert_torch.distributed import reached_by
from tests.curves import curve
from tests.tiny import BRANCHES, TINY, tiny_config

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from pathlib import Path
from mobilebert.distillation import Distillation
from mobilebert.training import Training
from mobilebert_core.errors import MobileBertError
from mobilebert_core.training.knowledge_transfer import TransferSettings
from mobilebert_core.training.recipe import Recipe

for settings in json.loads(sys.argv[1]):
    if "student" in settings:
        paths = {name: Path(settings.pop(name)) for name in ("output", "shards")}
        Distillation(**{**settings, **paths, "settings": TransferSettings(**settings["settings"])}).run()
        continue
    paths = {name: Path(settings.pop(name)) for name in ("data", "output")}
    try:
        Training(**paths, **{**settings, "recipe": Recipe(**settings["recipe"])}).run()
    except MobileBertError as e:
        print(e, file=sys.stderr)
        sys.exit(2)
"""
WORDS = "bees gather light rain sun cold warm sweet bitter quick slow bright loud"


TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
OPEN_MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE")


def ranks(settings: list[dict], count: int = 2, names: tuple[str, ...] = TORCHRUN) -> list[subprocess.Popen]:
    """Starts processes as a launcher does, each to do the same trainings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        own = {**dict(zip(names, (rank, rank, count), strict=True)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in own.items()}}
        command = [sys.executable, "-c", RUN, json.dumps(settings)]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    return started


@pytest.fixture
def data(tmp_path):
    """Rows of few and many words, 23 to an epoch, so that the last batch has fewer rows than there are ranks."""
    rng = np.random.default_rng(0)
    lines = []
    for label in rng.integers(0, 3, 33):
        words = " ".join(rng.choice(WORDS.split(), rng.integers(2, 18)))
        lines.append(f"{words},{'abc'[label]}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    (tmp_path / "data" / "dev.csv").write_text("text,label\n" + "\n".join(lines[:9]) + "\n")
    (tmp_path / "texts.txt").write_text("\n".join(line.partition(",")[0] for line in lines) + "\n")
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "vocab_size": 8000, "initializer_range": 0.1}))
    return tmp_path


def settings(place: Path, name: str, **more) -> dict:
    """A training of 20 steps in float64 without dropout."""
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    recipe = {"learning_rate": 2e-3, "batch_size": 8, "epochs": 4, "classifier_dropout": 0.0}
    chosen = {
        "task": "text-classification", "data": str(place / "data"), "model": str(place / "config.json"),
        "tokenizer": str(DEMO_MODEL), "output": str(place / name), "recipe": {**recipe, **more.pop("recipe", {})},
        "precision": "float64", "fields": dropout, "progress": False,
    }  # fmt: skip
    return {**chosen, **more}


def alone(chosen: dict) -> dict:
    paths = {name: Path(chosen[name]) for name in ("data", "output")}
    return Training(**{**chosen, **paths, "recipe": Recipe(**chosen["recipe"])}).run()


def test_the_weights_that_a_loss_depends_on():
    first, second, last = (torch.nn.Linear(3, 3) for _ in range(3))
    x = first(torch.ones(2, 3)).relu()
    loss = second(x.detach()).sum() + x.sum() + torch.utils.checkpoint.checkpoint(last, x, use_reentrant=False).mean()
    modules = (first, second, last)
    assert reached_by(loss) == {id(weight) for module in modules for weight in module.parameters()}
    assert reached_by(second(x.detach()).sum()) == {id(second.weight), id(second.bias)}
    assert reached_by(torch.ones(())) == set()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(data):
    words = {"task": "fill-mask", "data": str(data / "texts.txt"), "recipe": {"accumulate": 2, "epochs": 8}}
    cases = {
        "ddp": {},
        "fsdp": {"shard": True},
        "words": words,
        "sharded words": {**words, "shard": True},
        "float32": {"precision": "float32"},
    }
    started = ranks([settings(data, f"two {name}", **case) for name, case in cases.items()])
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    for name, case in cases.items():
        chosen = settings(data, f"one {name}", **{**case, "shard": False})
        results = alone(chosen)
        one, two = data / f"one {name}", data / f"two {name}"
        assert len(curve(one)) >= 20 and np.ptp(curve(one)) > 0.1
        limit = 1e-6 if name == "float32" else 1e-10
        assert np.abs(curve(two) / curve(one) - 1).max() < limit, name
        found = json.loads((two / "training.json").read_text())
        assert found["finished"] and found["dev"] == pytest.approx(results["dev"], rel=1e-6), name
        assert found["settings"] == json.loads((one / "training.json").read_text())["settings"]
        assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
        ours, theirs = (load_file(place / "model.safetensors") for place in (one, two))
        assert all(np.abs(theirs[n] - ours[n]).max() < 1e-3 for n in ours) and ours.keys() == theirs.keys()


@pytest.mark.slow
def test_two_processes_teach_what_one_does(data, tmp_path, checkpoint):
    """Block by block, all that can be compared, and through a learned map: terms, and the student's weights."""
    sizes = {**TINY, "vocab_size": 8000, "num_feedforward_networks": 1}
    teacher = checkpoint("MaskedLM", name="teacher", **{**sizes, **BRANCHES["teacher"]})
    AutoTokenizer.from_pretrained(DEMO_MODEL).save_pretrained(teacher)
    tiny_config(**sizes, initializer_range=0.1).to_json_file(tmp_path / "student.json")
    common = {
        "teacher": str(teacher), "student": str(tmp_path / "student.json"), "data": [str(data / "texts.txt")],
        "task": "fill-mask", "precision": "float64", "progress": False, "shards": str(tmp_path / "rows"),
        "changes": {"learning_rate": 2e-3, "batch_size": 8, "epochs": 9, "max_steps": 12}, "held_out": 4,
    }  # fmt: skip
    strategies = ("progressive", "auxiliary", "tinybert", "minilm", "distilbert")
    cases = {name: {**common, "settings": {"strategy": name}} for name in strategies}
    started = ranks([{**case, "output": str(tmp_path / f"two {name}")} for name, case in cases.items()], names=OPEN_MPI)
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "find_unused_parameters" not in "".join(said)  # is asked for where some are unused
    for name, case in cases.items():
        one, two = tmp_path / f"one {name}", tmp_path / f"two {name}"
        paths = {"output": one, "shards": tmp_path / "rows"}
        Distillation(**{**case, **paths, "settings": TransferSettings(strategy=name)}).run()
        ours, theirs = (read_curves(place / "curves.csv") for place in (one, two))
        assert len(ours) == len(theirs) == 12
        for row, other in zip(ours, theirs, strict=True):
            assert {n: float(v) for n, v in other.items() if v} == pytest.approx(
                {n: float(v) for n, v in row.items() if v}, rel=1e-10
            ), name
        found = json.loads((two / "training.json").read_text())
        assert found["dev"] == pytest.approx(json.loads((one / "training.json").read_text())["dev"], rel=1e-6)
        ours, theirs = (load_file(place / "model.safetensors") for place in (one, two))
        assert all(np.abs(theirs[n] - ours[n]).max() < 1e-6 for n in ours) and ours.keys() == theirs.keys()


@pytest.mark.slow
def test_a_killed_process_ends_the_training_which_one_or_two_resume(data):
    more = {"save_every": 2, "recipe": {"epochs": 12}}
    for name in ("out", "again"):
        first, second = ranks([settings(data, name, **more)])
        curves = data / name / "curves.csv"
        while not (data / name / "resume").exists():
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        second.send_signal(signal.SIGKILL)
        _, said = first.communicate(timeout=60)
        assert first.returncode == 2 and "another process of this training has ended" in said and "--resume" in said
        second.communicate()
        assert curves.exists() and not json.loads((data / name / "training.json").read_text()).get("finished")
    alone(settings(data, "whole", **more))
    alone(settings(data, "out", **more, resume=True))
    resumed = ranks([settings(data, "again", **more, resume=True, shard=True)])
    said = [process.communicate(timeout=300)[1] for process in resumed]
    assert [process.returncode for process in resumed] == [0, 0], said
    for name in ("out", "again"):
        assert np.abs(curve(data / name) / curve(data / "whole") - 1).max() < 1e-8, name


def test_what_cannot_be_is_said(data, monkeypatch):
    from mobilebert_torch.distributed import _explained

    with (
        pytest.raises(TrainingError, match=r"reached \(gloo: Connection reset\)\. The last saved state is whole"),
        _explained(),
    ):
        raise RuntimeError("gloo: Connection reset. This is typically caused by a remote worker. GLHF!")
    from mobilebert_tf.distributed import join

    with pytest.raises(ConfigError, match="Keras 3 on TensorFlow does not train over several processes"):
        join(Launch(0, 2, 0))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="wanted one process, got several"):  # nobody says where they meet
        alone(settings(data, "out"))

"""Commands under a launcher that starts each of them several times."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace

import pytest

from mobilebert import streams
from mobilebert.cli import main
from mobilebert.training import Training
from mobilebert_core import ConfigError
from mobilebert_core.processes import Launch, check_one_process, is_first, launch_of

COMMANDS = {
    "train": ["train", "text-classification", "--data", "d.csv", "--model", "mobilebert", "--output", "out"],
    "predict": ["predict", "text-classification", "a", "--output", "out"],
    "convert": ["convert", "checkpoint", "out"],
    "vocab": ["vocab", "train", "text.txt", "--size", "60", "--output", "out"],
    "parity": ["parity", "--json", "out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_writes_is_refused(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("a text\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(COMMANDS[command]) == 2
    said = capsys.readouterr().err
    assert f"{command}" in said and "wanted one process, got several" in said and "WORLD_SIZE is 2" in said
    assert "Start the command once" in said
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_the_python_door_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ConfigError, match="WORLD_SIZE is 8"):
        Training(task="fill-mask", data=tmp_path / "d.txt", model="mobilebert", output=tmp_path / "out").run()


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({}, False),
        ({"WORLD_SIZE": "1"}, False),
        ({"WORLD_SIZE": "many"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"PMI_SIZE": "4"}, True),
        ({"SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"SLURM_NTASKS": "2"}, False),  # of the job, which may run the command once
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}})}, True),
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1"]}})}, False),
        ({"TF_CONFIG": "[]"}, False),
        ({"TF_CONFIG": '{"cluster": [1, 2]}'}, False),
        ({"TF_CONFIG": '{"cluster": {"worker": 2}}'}, False),
    ],
)
def test_what_launchers_say(environment, refused):
    if not refused:
        check_one_process("train", environment)
        return
    with pytest.raises(ConfigError, match=next(iter(environment))):
        check_one_process("train", environment)


def test_who_interrupts_that_wait_reads_what_went_wrong(monkeypatch, capsys):
    """It was a traceback."""

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(streams, "time", SimpleNamespace(sleep=interrupted))
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main([*COMMANDS["train"], "--modle", "m"])
    assert "--model" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--modle", "--model"])
def test_another_process_than_the_first_waits_before_it_says_what_went_wrong(monkeypatch, capsys, option):
    """Each process said the same. What ends the others, when the first has said it, is the launcher."""
    waited = []

    def fail(self):
        raise ConfigError("--model m is none")

    monkeypatch.setattr(Training, "run", fail)
    monkeypatch.setattr(streams, "time", SimpleNamespace(sleep=lambda _: waited.append(capsys.readouterr().err)))
    for rank in "01":
        environment = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "here", "MASTER_PORT": "1"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with contextlib.suppress(SystemExit):  # of the parser
            assert main([*COMMANDS["train"], option, "m"]) == 2
        assert "--model" in capsys.readouterr().err and waited == [""] * int(rank)


@pytest.mark.parametrize(
    "names",
    [
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ],
    ids=["torchrun", "Open MPI", "MPICH", "srun"],
)
def test_who_a_process_is_among_those_that_train_together(names):
    said = dict(zip(names, ("3", "4", "1"), strict=True))
    with pytest.raises(ConfigError, match="wanted 4 processes that know where they meet, got no MASTER_PORT"):
        launch_of("train", {**said, "MASTER_ADDR": "here"})
    meeting = {"MASTER_ADDR": "here", "MASTER_PORT": "29500"}
    assert launch_of("train", {**said, **meeting}) == Launch(3, 4, 1) and not is_first(said)
    # The innermost launcher counts: srun may have started a torchrun on each machine.
    inner = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    assert launch_of("train", {**said, **inner, **meeting}) == Launch(0, 2, 0) and is_first({**said, **inner})
    assert launch_of("train", {**meeting, names[0]: "0", names[1]: "1", names[2]: "0"}) is None and is_first({})

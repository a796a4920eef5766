"""Launchers that start one command several times: what they say to its processes, and the refusal of several."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ConfigError

# What each launcher says to its processes about their number: torchrun and accelerate, Open MPI, MPICH, Slurm's srun.
_COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")  # where processes that work together find each other
_CLUSTER = "TF_CONFIG"  # of TensorFlow, a JSON object that lists the machines


@dataclass(frozen=True)
class Launch:
    """What torchrun and accelerate say to each process: its number, how many there are, its number on its machine."""

    rank: int
    count: int
    local_rank: int


def launch_of(command: str, environment: Mapping[str, str] = os.environ) -> Launch | None:
    """This process among those that train together; None where it is alone.

    Raises:
        ConfigError: for one of several that were not started to work together.
    """
    numbers = [environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    together = all(number.isdecimal() for number in numbers) and {*_MEETING} <= {*environment}
    if together and int(numbers[1]) > 1:
        return Launch(*map(int, numbers))
    check_one_process(command, environment)
    return None


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is alone, or the first of those that work together: the one that speaks for them."""
    return environment.get("RANK", "0") in ("", "0") or environment.get("WORLD_SIZE", "1") in ("", "1")


def check_one_process(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError where the environment says that this process is one of several that do the same.

    Each of them would read the same rows and write the same files.
    """
    for name in _COUNTS:
        count = environment.get(name, "")
        if count.isdecimal() and int(count) > 1:
            raise ConfigError(_refusal(command, f"{name} is {count}", name))
    workers = _workers(environment.get(_CLUSTER, ""))
    if workers > 1:
        raise ConfigError(_refusal(command, f"{_CLUSTER} names {workers} workers", _CLUSTER))


def _refusal(command: str, said: str, name: str) -> str:
    return (
        f"{command}: wanted one process, got several that would write the same files ({said}, as torchrun, mpirun and "
        f"srun set it). Start the command once, without the launcher; where this process is alone, unset {name}."
    )


def _workers(text: str) -> int:
    """Chiefs and workers that TF_CONFIG lists; 0 where it is none."""
    try:
        cluster = json.loads(text)["cluster"]
        return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0

"""Launchers that start one command several times: what they say to its processes, and the refusal of several."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ConfigError

# What each launcher says to its processes: their rank, their number, and the rank on their machine.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun, accelerate
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # mpirun of Open MPI
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # mpirun of MPICH and Intel MPI
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun
)
_MEETING = ("MASTER_ADDR", "MASTER_PORT")  # where processes that work together find each other
_CLUSTER = "TF_CONFIG"  # of TensorFlow, a JSON object that lists the machines


@dataclass(frozen=True)
class Launch:
    """What a launcher says to each process: its number, how many there are, its number on its machine."""

    rank: int
    count: int
    local_rank: int


def launch_of(command: str, environment: Mapping[str, str] = os.environ) -> Launch | None:
    """This process among those that train together; None where it is alone.

    Raises:
        ConfigError: for one of several that were not started to work together, or do not know where they meet.
    """
    launch = _launch(environment)
    if launch is None:
        check_one_process(command, environment)
    elif missing := [name for name in _MEETING if name not in environment]:
        raise ConfigError(
            f"{command}: wanted {launch.count} processes that know where they meet, got no {' and no '.join(missing)}. "
            "Set MASTER_ADDR to the machine of the first process and MASTER_PORT to a free port there, or start the "
            "command once, without the launcher."
        )
    return launch


def check_launched(command: str, option: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError for an option for several processes where no launcher has started this one."""
    if not environment.get("WORLD_SIZE"):
        raise ConfigError(
            f"{command}: {option} is for several processes that train together, got one without a launcher. Start "
            f"them: torchrun --nproc-per-node N -m mobilebert {command} ...; or leave {option} out."
        )


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is alone, or the first of those that work together: the one that speaks for them."""
    launch = _launch(environment)
    return launch is None or launch.rank == 0


def warn(logger: logging.Logger, message: str, *values: object) -> None:
    """Logs a warning about something that all processes meet: of those that work together the first one says it.

    The others log it as information.
    """
    logger.log(logging.INFO if is_another() else logging.WARNING, message, *values, stacklevel=2)


def is_another(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process works together with others, of which another is the first."""
    launch = _launch(environment)
    return launch is not None and launch.rank > 0 and all(name in environment for name in _MEETING)


def is_alone(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether no launcher has started this process as one of several."""
    return _launch(environment) is None


def _launch(environment: Mapping[str, str]) -> Launch | None:
    """This process among several, as the innermost launcher says; None where none says it."""
    for names in _LAUNCHERS:
        numbers = [environment.get(name, "") for name in names]
        if all(number.isdecimal() for number in numbers):
            launch = Launch(*map(int, numbers))
            return launch if launch.count > 1 else None
    return None


def check_one_process(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError where the environment says that this process is one of several that do the same.

    Each of them would read the same rows and write the same files.
    """
    for _, name, _ in _LAUNCHERS:
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

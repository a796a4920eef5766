"""Launchers that start one command several times, and the refusal of what only one process may do."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from .errors import ConfigError

# What each launcher says to its processes about their number: torchrun and accelerate, Open MPI, MPICH, Slurm's srun.
_COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_CLUSTER = "TF_CONFIG"  # of TensorFlow, a JSON object that lists the machines


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

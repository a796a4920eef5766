"""A training that a launcher may have started several times: its processes find each other and train together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conversion.backends import FRAMEWORKS, backend_named
from mobilebert_core.processes import check_launched, launch_of
from mobilebert_core.training.ranks import ALONE, Ranks


def train_together(
    run: Callable[[Ranks], dict[str, Any]], command: str, backend: str, device: str | None, shard: bool = False
) -> dict[str, Any]:
    """What `run` returns, in this process alone or, where a launcher started several, in each of them.

    Args:
        run: the training; it gets its ranks.
        command: begins the message of an error.
        shard: whether each process holds a part of the weights.

    Raises:
        ConfigError: for several processes that were not started to work together, or train with Keras, and for
            `shard` without a launcher.
        TrainingError: where they do not find each other.
    """
    launch = launch_of(command)
    if launch is None:
        if shard:
            check_launched(command, "--shard")
        return run(ALONE)
    engine = backend_named(backend, command, FRAMEWORKS).load("distributed", command)
    ranks = engine.join(launch, device, shard)
    results = run(ranks)
    ranks.wait()  # one that leaves while another still writes would take it along
    return results

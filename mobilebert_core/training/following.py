"""The output directory as the ranks see it that write nothing into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ranks import Ranks
from .run_directory import RunDirectory


class FollowingDirectory(RunDirectory):
    """What the first rank has written; its own writes are left out.

    `save` asks the trainer for all that the first rank saves: where weights are sharded, the ranks gather them.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], finished: bool) -> None:
        self.output, self.settings, self.finished = output, dict(settings), finished

    def save(self, trainer: Any, progress: Mapping[str, Any]) -> None:
        trainer.save(self.output)
        trainer.state()

    def begin(self, step: int) -> None:
        return None

    def line(self, step: int, epoch: float, learning_rate: float, loss: float, cells: Any = None) -> None:
        return None

    def scored(self, step: int, epoch: float, scores: Mapping[str, float]) -> None:
        return None

    def note(self, **results: Any) -> None:
        return None

    def close_curves(self) -> None:
        return None

    def close(self) -> None:
        return None

    def end(self, **results: Any) -> None:
        return None


def run_directory(
    ranks: Ranks, output: Path, settings: Mapping[str, Any], resume: bool, columns: Sequence[str] = ()
) -> RunDirectory:
    """The directory of a training, which the first rank writes and the others follow; raises as `RunDirectory`."""
    made: list[RunDirectory] = []

    def make() -> bool:
        made.append(RunDirectory(output, settings, resume, columns))
        return made[0].finished

    finished = ranks.first(make)
    return made[0] if made else FollowingDirectory(output, settings, finished)

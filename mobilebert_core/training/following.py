"""The output directory as the ranks see it that write nothing into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files import sha256
from ..saves import current
from .ranks import Ranks
from .run_directory import PROGRESS_FILE, RESUME, RunDirectory


class FollowingDirectory(RunDirectory):
    """What the first rank has written; its own writes are left out.

    `save` asks the trainer for all that the first rank saves: where weights are sharded, the ranks gather them.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], finished: bool) -> None:
        self.output, self.settings, self.finished = output, dict(settings), finished

    def save(self, trainer: Any, progress: Mapping[str, Any]) -> None:
        trainer.save(self.output)
        trainer.state()

    def keep(self, trainer: Any, tokenizer: Any, **how: Any) -> None:
        trainer.save(self.output, **how)

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
    """The directory of a training, which the first rank writes and the others follow.

    Raises:
        ConfigError, CheckpointError: as `RunDirectory`, on every rank.
        ConfigError: also where a rank sees another saved state than the first.
    """
    made: list[RunDirectory] = []

    def make() -> tuple[bool, str | None]:
        made.append(RunDirectory(output, settings, resume, columns))
        return made[0].finished, _digest_of_saved(output)

    finished, saved = ranks.first(make)
    seen = ranks.gather(_digest_of_saved(output))
    ranks.first(lambda: _check_same(output, saved, seen))
    return made[0] if made else FollowingDirectory(output, settings, finished)


def _digest_of_saved(output: Path) -> str | None:
    """What tells the saved state that a rank sees from every other; None where it sees none."""
    path = current(output / RESUME / PROGRESS_FILE)
    return sha256(path) if path.is_file() else None


def _check_same(output: Path, first: str | None, seen: Sequence[str | None]) -> None:
    others = [str(rank) for rank, digest in enumerate(seen) if digest != first]
    if others:
        raise ConfigError(
            f"{output}: wanted an output directory that every process sees, got another saved state, or none, in "
            f"process {', '.join(others[:8])}. Take a directory on a disk that all machines share."
        )

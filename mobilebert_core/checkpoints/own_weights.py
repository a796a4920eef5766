"""Weights of a model class that a user derived from ours, beside those of the table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import CheckpointError
from .tensor_info import MappedCheckpoint

logger = logging.getLogger("mobilebert")


@dataclass(frozen=True)
class OwnWeights:
    """What a class of the user's has: whether its MobileBERT pools, and the shapes of its own weights by name."""

    pooler: bool
    shapes: Mapping[str, tuple[int, ...]]


def take_own_weights(file: MappedCheckpoint, own: OwnWeights, ignore_mismatched_sizes: bool) -> tuple[str, ...]:
    """Names of own weights that the file has; they are no unknown ones of it any more.

    Those that it lacks are newly initialized, which is logged as a warning.

    Raises:
        CheckpointError: for another shape, unless mis-shaped ones may be newly initialized.
    """
    here = [name for name in own.shapes if name in file.stored]
    wrong = [name for name in here if file.stored[name].shape != tuple(own.shapes[name])]
    if wrong and not ignore_mismatched_sizes:
        wanted, got = tuple(own.shapes[wrong[0]]), file.stored[wrong[0]].shape
        raise CheckpointError(
            f"{file.path}: {wrong[0]} wanted {wanted}, the file has {got}; nothing was loaded. Pass "
            "ignore_mismatched_sizes=True to initialize it anew."
        )
    file.leave_out([name for name in here if name in file.unknown])
    found = tuple(name for name in here if name not in wrong)
    _log(file, [name for name in own.shapes if name not in found])
    return found


def _log(file: MappedCheckpoint, names: Iterable[str]) -> None:
    if few := list(names)[:8]:
        logger.warning(
            "%s: weights of the class's own are not in the checkpoint and are newly initialized; train them before "
            "use: %s", file.path, ", ".join(few),
        )  # fmt: skip

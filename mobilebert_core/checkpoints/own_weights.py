"""What a model class that a user derived from ours says of weights: its own, and names that it does not mind."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..errors import CheckpointError, ConfigError
from ..processes import warn
from .tensor_info import MappedCheckpoint

logger = logging.getLogger("mobilebert")


@dataclass(frozen=True)
class OwnWeights:
    """What a class of the user's has: whether its MobileBERT pools (None: as its head does), shapes of own weights."""

    pooler: bool | None
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class IgnoredNames:
    """Regular expressions of names that are missing or unexpected without a word, as in transformers.

    A name is ignored where one of them is found in it. A missing weight is newly initialized all the same.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    @classmethod
    def of(cls, model_class: Any) -> Self:
        """Those of the attributes that transformers reads. Raises ConfigError for what is no regular expression."""
        found = []
        for end in ("missing", "unexpected"):
            name = f"_keys_to_ignore_on_load_{end}"
            patterns = getattr(model_class, name, None) or ()
            patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except (re.error, TypeError) as e:
                    raise ConfigError(
                        f"{model_class.__name__}.{name}: wanted regular expressions, got {pattern!r} ({e})."
                    ) from e
            found.append(patterns)
        return cls(*found)

    def keep_missing(self, names: Iterable[str]) -> list[str]:
        """The names of missing weights that are not ignored."""
        return [name for name in names if not any(re.search(pattern, name) for pattern in self.missing)]

    def unexpected_among(self, names: Iterable[str]) -> list[str]:
        """The names in a file that are ignored."""
        return [name for name in names if any(re.search(pattern, name) for pattern in self.unexpected)]


NOTHING_IGNORED = IgnoredNames()


def take_own_weights(
    file: MappedCheckpoint, own: OwnWeights, ignore_mismatched_sizes: bool, ignored: IgnoredNames
) -> tuple[str, ...]:
    """Names of own weights that the file has; they are no unknown ones of it any more.

    Those that it lacks are newly initialized, which is logged as a warning where they are not ignored.

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
    _log(file, ignored.keep_missing(name for name in own.shapes if name not in found))
    return found


def _log(file: MappedCheckpoint, names: Iterable[str]) -> None:
    if few := list(names)[:8]:
        warn(
            logger,
            "%s: weights of the class's own are not in the checkpoint and are newly initialized; train them before "
            "use: %s", file.path, ", ".join(few),
        )  # fmt: skip

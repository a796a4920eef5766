"""Keras's own files of a model, `.keras` and `.weights.h5`, written like every other file of this package."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.containers import hdf5
from mobilebert_core.saves import saving

_ENDINGS = (".keras", ".weights.h5", ".weights.json")


class WholeKerasFiles:
    """For models: what Keras saves is seen whole or not at all, whatever interrupts it."""

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """As `keras.Model.save`. Raises SaveError when the disk is full; the old file is kept."""
        with _seen_whole(self, filepath, overwrite) as place:
            super().save(place, overwrite=overwrite, zipped=zipped, **kwargs)  # type: ignore[misc]  # of keras.Model

    def save_weights(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """As `keras.Model.save_weights`. Raises SaveError when the disk is full; the old file is kept."""
        with _seen_whole(self, filepath, overwrite) as place:
            super().save_weights(place, overwrite=overwrite, **kwargs)  # type: ignore[misc]  # of keras.Model


@contextmanager
def _seen_whole(model: Any, filepath: Any, overwrite: bool) -> Iterator[Any]:
    """The path to write to; that itself where Keras asks before it overwrites, or writes to another machine."""
    name = str(filepath)
    if not name.endswith(_ENDINGS) or "://" in name or (os.path.exists(name) and not overwrite):
        yield filepath
        return
    target = Path(name)
    with saving(target.parent) as save:
        _take_room(save.stage / target.name, _most_bytes(model))
        yield save.stage / target.name


def _take_room(path: Path, size: int) -> None:
    """Raises OSError where the disk has no room for so many bytes: HDF5 would take the whole process down."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # others say that this system cannot tell
            raise
    finally:
        path.unlink(missing_ok=True)


def _most_bytes(model: Any) -> int:
    optimizer = getattr(model, "optimizer", None)
    variables = {id(v): v for v in (*model.variables, *(optimizer.variables if optimizer is not None else ()))}
    return sum(math.prod(v.shape) * (8 if "64" in str(v.dtype) else 4) + hdf5.OVERHEAD for v in variables.values())

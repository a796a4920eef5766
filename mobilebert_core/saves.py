"""How files reach the disk, and how they are read while others write: what belongs together is seen as one.

A save goes into a directory of its own, the stage, and is synced there. Then one renaming decides. A single file takes
its place by it. Several files become visible together: the stage is renamed to `SAVED` in their folder, from where
readers of this package take them (see `steady_reads`) until each of them is in its place and `SAVED` goes. Whoever
dies before that renaming leaves the old files, whoever dies after it the new ones; the next save finishes or removes
what was left.

Other readers, such as transformers, do not look into `SAVED`. For them the files that describe the others (config.json,
an index) go first and come back last: for a moment they see a checkpoint that lacks a file, never one of two saves.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CheckpointError, MobileBertError, SaveError, what_to_do
from .places import check_places

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STAGE = ".mobilebert-save-"  # begins the name of a directory in which files are written
SAVED = ".mobilebert-saved"  # the directory of a save that is whole, while its files take their places
_MANIFEST = "manifest"  # in it: its files, and the ones that go, with what lay in their places before
_DESCRIBING = (".json", ".index")  # endings of files that say what is in the others
_TEXTS, _SMALL = (".json", ".txt"), 1 << 20  # what is held against the file it replaces, up to so many bytes
_ABANDONED = 24 * 3600  # seconds after which a stage is nobody's, where the system has no locks to tell

_together: dict[Path, Save] = {}  # by their stage, those that take what the saves in them say is stale
Mark = tuple[int, int]  # size and time of a file: another one has others


@dataclass
class Save:
    """Files on their way into a folder.

    Attributes:
        folder: where they are going to be seen.
        stage: an empty directory into which they are written; all that is in it in the end is published.
        stale: patterns of names: what lies in the folder under one of them goes at the moment the new files are seen.
    """

    folder: Path
    stage: Path
    stale: set[re.Pattern[str]] = field(default_factory=set)


@contextmanager
def saving(folder: Path, file: Path | None = None) -> Iterator[Save]:
    """A save into a folder, which is made if need be, published when the block succeeds.

    Whatever interrupts the block, the folder stays as it was. A folder that is the stage of another save is simply
    written into: its files become visible with that one.

    Raises:
        SaveError: when the disk is full, or something else keeps the files from being written. It names the folder, or
            where one file is written this file.
    """
    if folder.name.startswith(STAGE):
        part = Save(folder, folder)
        yield part
        if (whole := _together.get(folder)) is not None:
            whole.stale |= part.stale
        return
    stage = folder
    try:
        if folder.is_symlink() and not folder.exists():
            stage = folder = Path(os.path.realpath(folder))  # a link to a directory that is still to be made
        with _staging(folder) as stage:
            save = Save(folder, stage)
            yield save
            _publish(save)
    except MobileBertError as e:
        if str(stage) not in str(e) or stage == folder:
            raise
        raise type(e)(str(e).replace(str(stage), str(folder))) from None  # it speaks of the destination
    except OSError as e:
        kept, todo = "what was there before is kept", what_to_do(e, unknown=errno.ENOSPC)  # h5py passes no number on
        raise SaveError(f"{file or folder}: cannot be written ({e.strerror or e}); {kept}. {todo}") from e


@contextmanager
def saving_together(folder: Path) -> Iterator[Path]:
    """The stage of several saves that are seen as one: what they say is stale goes then."""
    with saving(folder) as save:
        _together[save.stage] = save
        try:
            yield save.stage
        finally:
            del _together[save.stage]


# --------------------------------------------------------------------------------------------------- the stage


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty directory on the disk of the folder. It goes in the end, with the parents that were made for nothing."""
    beside = folder if folder.is_dir() else folder.parent
    made = [each for each in (beside, *beside.parents) if not each.exists()]
    beside.mkdir(parents=True, exist_ok=True)
    clear(beside)
    with _locked(beside):
        stage = beside / f"{STAGE}{uuid.uuid4().hex}"
        stage.mkdir()
        lock = _try_lock(stage)  # while it is held, nobody takes the stage for one that was left
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _let_go(lock)
        for each in made:
            with contextlib.suppress(OSError):  # something is in it
                each.rmdir()


def clear(folder: Path) -> None:
    """Finishes the save that was whole when its process died, and removes the stages of those that were not."""
    with _locked(folder):
        _finish(folder)
        for left in [name for name in os.listdir(folder) if name.startswith(STAGE)]:
            stage = folder / left
            lock = _try_lock(stage)
            if lock is not None or (fcntl is None and _age(stage) > _ABANDONED):
                shutil.rmtree(stage, ignore_errors=True)
            _let_go(lock)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, where the file system has locks."""
    lock = _try_lock(folder, wait=True)
    try:
        yield
    finally:
        _let_go(lock)


def _try_lock(folder: Path, wait: bool = False) -> int | None:
    """An open descriptor that holds the lock of a directory, or None. The system lets go of it when a process dies."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


# ------------------------------------------------------------------------------------------------- publishing


def _publish(save: Save) -> None:
    folder, stage = save.folder, save.stage
    names = _names(stage)
    check_places(folder / name for name in names)
    if files := [part for name in names for part in _inside(folder, name) if part.is_file()]:
        raise CheckpointError(f"{files[0]}: is a file where a directory is to be. Choose another place.")
    for name in names:
        _sync(stage / name)
    if not folder.exists():
        _sync(stage)
        try:
            os.replace(stage, folder)
        except OSError as e:
            if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # somebody has made it meanwhile
                raise
        else:
            _sync(folder.parent)
            return
    with _locked(folder):
        _finish(folder)
        changed = [name for name in names if not _equal(stage / name, folder / name)]
        nested = any("/" in gone.pattern for gone in save.stale)
        there = {
            name for name in (_names(folder) if nested else os.listdir(folder))
            for gone in save.stale if gone.fullmatch(name)
        }  # fmt: skip
        stale = sorted(there.difference(names))
        if stale or len(changed) > 1:
            _decide(save, names, stale)
        elif changed:
            (folder / changed[0]).parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / changed[0], folder / changed[0])
            _sync(folder)


def _names(folder: Path) -> list[str]:
    """The files in a folder and in the folders in it, as paths relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _inside(folder: Path, name: str) -> list[Path]:
    """The folders between a folder and a file in it."""
    return [folder / parent for parent in Path(name).parents[:-1]]


def _equal(new: Path, old: Path) -> bool:
    """Whether a small text is there already, as it is to be."""
    try:
        return new.suffix in _TEXTS and new.stat().st_size <= _SMALL and filecmp.cmp(new, old, shallow=False)
    except OSError:
        return False


def _decide(save: Save, names: Iterable[str], stale: Iterable[str]) -> None:
    """Shows several files at once."""
    folder = save.folder
    manifest = {"files": {n: _mark(folder / n) for n in names}, "stale": {n: _mark(folder / n) for n in stale}}
    (save.stage / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    _sync(save.stage / _MANIFEST)
    _sync(save.stage)
    os.replace(save.stage, folder / SAVED)
    try:
        _sync(folder)
        _finish(folder)
    except OSError as e:
        raise SaveError(
            f"{folder}: was saved, but not every file could take its place ({e.strerror or e}). Until the next save "
            f"does that, the files are read from {SAVED} in it."
        ) from e


def _finish(folder: Path) -> None:
    """Puts the files of a save that was decided in their places."""
    saved = folder / SAVED
    if _manifest(saved) is None and not saved.exists():
        return
    if (found := _live(folder)) is not None:
        files, stale = found
        for name in sorted([*files, *stale], key=_describes, reverse=True):
            if name in stale or _describes(name):
                (folder / name).unlink(missing_ok=True)
        for name in sorted(files, key=_describes):
            _place(saved / name, folder / name)
        _sync(folder)
    left = folder / f"{STAGE}{uuid.uuid4().hex}"
    os.replace(saved, left)  # from here on the files are read in their places
    shutil.rmtree(left, ignore_errors=True)


def _describes(name: str) -> bool:
    return name.endswith(_DESCRIBING)


def _place(source: Path, target: Path) -> None:
    """Gives a file a second name, which takes the place of whatever had it."""
    if target.exists() and os.path.samefile(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = source.with_name(f"{source.name}.link")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:  # a file system without second names
        shutil.copy2(source, beside)
        _sync(beside)
    os.replace(beside, target)


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a directory, are on the disk."""
    if path.is_dir():
        with contextlib.suppress(OSError):  # not every system syncs a directory
            _fsync(path, os.O_RDONLY)
    else:
        _fsync(path, os.O_RDWR)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mark(path: Path) -> Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


# ---------------------------------------------------------------------------------------------------- reading


def arriving(folder: Path) -> Path | None:
    """The directory of a save whose files are on their way to their places in a folder, if there is one."""
    return None if _live(folder) is None else folder / SAVED


def current(path: Path) -> Path:
    """Where a file, or the prefix of a TensorFlow checkpoint, is to be read: in its place, or on its way there.

    For a file that goes with the save before it is a path at which there is none.
    """
    found = _live(path.parent)
    there = found is not None and any(name in part for part in found for name in (path.name, f"{path.name}.index"))
    return path.parent / SAVED / path.name if there else path


def home(path: Path) -> Path:
    """The path by which a file is known, wherever it is read."""
    return path.parent.parent / path.name if path.parent.name == SAVED else path


def _live(folder: Path) -> tuple[dict[str, Mark | None], dict[str, Mark | None]] | None:
    """The files of a save on its way into a folder and the ones that go, or None.

    It counts no more when someone else has written one of them since: that is the newer one.
    """
    saved = folder / SAVED
    manifest = _manifest(saved)
    if manifest is None:
        return None
    files, stale = manifest
    for name, before in {**files, **stale}.items():
        now = _mark(folder / name)
        if now is not None and now != before and now != _mark(saved / name):
            return None
    return manifest


def _manifest(saved: Path) -> tuple[dict[str, Mark | None], dict[str, Mark | None]] | None:
    try:
        content = json.loads((saved / _MANIFEST).read_bytes())
        return tuple(  # type: ignore[return-value]
            {name: None if mark is None else tuple(mark) for name, mark in content[part].items()}
            for part in ("files", "stale")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

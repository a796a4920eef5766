"""What a conversion may replace at its destination, and what it takes along."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from mobilebert_core.checkpoints.containers.shards import family, family_of
from mobilebert_core.checkpoints.formats import ENDINGS, Format
from mobilebert_core.checkpoints.opening import Checkpoint
from mobilebert_core.errors import CheckpointError
from mobilebert_core.files import CONFIG_FILE, INDEX_SUFFIX, TOKENIZER_FILES, WEIGHT_FILES
from mobilebert_core.places import check_places
from mobilebert_core.saves import Save, current

_WEIGHTS = (*ENDINGS, INDEX_SUFFIX)  # endings of checkpoints


def check_free(path: Path, output_format: Format, source: Checkpoint, overwrite: bool) -> None:
    """Raises CheckpointError when writing to `path` would replace something, or would not be read afterwards."""
    output = output_format.written
    own = [] if output.ending else family(path / output.file)
    if _resolved([path, _index(path), *own]) & _resolved((*source.parts, source.path)):
        raise CheckpointError(f"{path}: is the source itself; choose another destination.")
    if path.exists() and path.is_dir() != (not output.ending):
        wanted, got = ("a file", "a directory") if output.ending else ("written into a directory", "a file")
        raise CheckpointError(f"{path}: {output_format.name} is {wanted}, this is {got}.")
    if output.ending:
        there = [p for p in (path, _index(path)) if p.exists()]
    else:
        before = [path / name for name in WEIGHT_FILES[: WEIGHT_FILES.index(output.file)]]
        if hidden := [p.name for p in before if p.exists() and p not in own]:
            raise CheckpointError(
                f"{path}: holds {', '.join(hidden)}, which is read before {output.file}. Choose another directory."
            )
        there = [*own, *(p for p in [path / CONFIG_FILE] if p.exists())]
    if there and not overwrite:
        raise CheckpointError(f"{path}: there is {there[0].name} already. Choose another place, or pass --overwrite.")


def _index(prefix: Path) -> Path:
    """Of a TensorFlow checkpoint, which is no file itself."""
    return prefix.parent / f"{prefix.name}.index"


def _resolved(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def settle(save: Save, path: Path, output_format: Format, source: Checkpoint, overwrite: bool) -> list[Path]:
    """Takes the tokenizer along, so that what was converted answers texts; returns the files, which are seen at once.

    Raises:
        CheckpointError: when a file would be replaced unasked, or one on which another checkpoint relies.
    """
    output, folder = output_format.written, save.folder
    tokenizer = [name for name in TOKENIZER_FILES if current(source.folder / name).is_file()]
    for name in tokenizer:
        taken = current(source.folder / name)
        if overwrite or not (folder / name).is_file() or not filecmp.cmp(folder / name, taken, shallow=False):
            shutil.copyfile(taken, save.stage / name)
    names = sorted(p.name for p in save.stage.iterdir())
    if folder.exists():
        _check_neighbours(save.stage, path, folder, names, overwrite)
    if not output.ending:
        save.stale.add(family_of(output.file))
    if overwrite and tokenizer:
        save.stale |= {re.compile(re.escape(name)) for name in TOKENIZER_FILES}
    return [folder / name for name in names]


def _check_neighbours(stage: Path, path: Path, folder: Path, names: list[str], overwrite: bool) -> None:
    """Raises CheckpointError when a file would be replaced unasked, or one on which another checkpoint relies."""
    check_places(folder / name for name in names)
    there = [n for n in names if (folder / n).exists()]
    replaced = [n for n in there if not filecmp.cmp(folder / n, stage / n, shallow=False)]
    if replaced and not overwrite:
        raise CheckpointError(
            f"{folder}: {', '.join(replaced)} would be replaced. Choose another place, or pass --overwrite."
        )
    others = [p.name for p in folder.iterdir() if p.name.endswith(_WEIGHTS) and not _is_of(p.name, path)]
    if folder != path and others and (shared := [n for n in replaced if not _is_of(n, path)]):
        raise CheckpointError(
            f"{folder}: {', '.join(shared)} would be replaced, on which {others[0]} relies. Choose another directory."
        )


def _is_of(name: str, path: Path) -> bool:
    """Whether a file is `path`, or one of the files of a TensorFlow checkpoint of that name."""
    return name == path.name or name.startswith(f"{path.name}.")

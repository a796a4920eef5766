"""The files of which a model consists, so that no output takes the place of one."""

from __future__ import annotations

from pathlib import Path

from conversion.exports.record import ExportRecord, is_exported
from mobilebert_core.checkpoints.formats import ENDINGS
from mobilebert_core.files import (
    CONFIG_FILE,
    EXPORT_FILE,
    PROVENANCE_FILE,
    TOKENIZER_FILES,
    is_index,
    tokenizer_place,
)

_NAMES = (CONFIG_FILE, EXPORT_FILE, PROVENANCE_FILE, *TOKENIZER_FILES)


def model_files(place: str | Path) -> list[Path]:
    """The files that are read of a model: of its directory, or beside a file of weights or a TensorFlow checkpoint.

    What lies there under other names, such as a report of an earlier run, is not among them. Nor is anything where
    there is no such place, as for a name on the hub.

    Raises:
        CheckpointError: for the directory of an export whose record is damaged.
    """
    place = Path(place)
    folder = tokenizer_place(place)
    if not folder.is_dir():
        return [place]
    written = ExportRecord.read(folder).sha256 if is_exported(folder) else {}
    exported = [folder / name for name in written if "\0" not in name]
    return [place, *exported, *(path for path in folder.iterdir() if _is_read(path.name))]


def _is_read(name: str) -> bool:
    return name in _NAMES or name.endswith((*ENDINGS, ".index")) or ".data-" in name or is_index(name)

"""A record beside a converted checkpoint: what it was made from, by what, and how well it agrees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.opening import Checkpoint
from mobilebert_core.errors import CheckpointError
from mobilebert_core.files import PROVENANCE_FILE, read_json, sha256, write_text
from mobilebert_core.saves import current

from .record import Conversion
from .versions import installed_versions


@dataclass(frozen=True)
class FileHashes:
    """SHA-256 by name of file."""

    source: dict[str, str]
    destination: dict[str, str]


def file_hashes(staged: Path, source: Checkpoint) -> FileHashes:
    """Of every file of weights in the source, and of all that was written."""
    folder = staged if staged.is_dir() else staged.parent
    installed_versions()  # here, where nobody waits for them
    return FileHashes(*({p.name: sha256(p) for p in paths} for paths in (source.parts, sorted(folder.iterdir()))))


def changed_files(checkpoint: Checkpoint) -> dict[str, Path]:
    """Files of a converted checkpoint whose bytes are no longer those that were written, and the record that says so.

    A checkpoint without a record, or with a damaged one, has none.
    """
    folder, name = checkpoint.folder, checkpoint.path.name
    places = (PROVENANCE_FILE, *(f"{each}.{PROVENANCE_FILE}" for each in (name, name.removesuffix(".index"))))
    changed = {}
    for record in (current(folder / place) for place in places):
        try:
            digests = read_json(record)["destination"]["sha256"].items() if record.is_file() else ()
        except (CheckpointError, KeyError, TypeError, AttributeError):
            continue
        for file, digest in digests:
            place = current(folder / Path(file).name)
            if place.is_file() and sha256(place) != digest:
                changed[file] = record
    return changed


def said_of(changed: Mapping[str, Path]) -> list[str]:
    """What is said of each of the `changed_files`."""
    return [f"{name} was changed since {record.name} beside it was written" for name, record in changed.items()]


def check_unchanged(checkpoint: Checkpoint) -> list[str]:
    """Notes on files that were changed since their conversion.

    Raises:
        CheckpointError: when a file of weights is among them.
    """
    changed = changed_files(checkpoint)
    for part in checkpoint.parts:
        if part.name in changed:
            record = changed[part.name]
            raise CheckpointError(
                f"{part}: is not the file of which {record.name} beside it has the digest: damaged, or written since "
                f"by another program. Fetch or convert it again; if the change was meant, delete {record}."
            )
    return said_of(changed)


def write_provenance(staged: Path, done: Conversion, source: Checkpoint, hashes: FileHashes) -> None:
    """Writes `provenance.json` into a directory, or `<name>.provenance.json` beside a file."""
    beside = staged / PROVENANCE_FILE if staged.is_dir() else staged.with_name(f"{staged.name}.{PROVENANCE_FILE}")
    record = {
        "source": {
            "path": source.path.name,
            "format": done.source_format,
            "sha256": hashes.source,
        },
        "destination": {
            "format": done.output_format.name,
            "model": done.head.class_name,
            "dtype": done.dtype,
            "parameters": done.parameters,
            "sha256": hashes.destination,
        },
        "weights": {"mapped": len(done.mapped), "tied": dict(done.tied), "dropped": done.dropped},
        "notes": done.notes,
        "read_back": "bit by bit equal",
        "parity": _measured(done),
        "versions": installed_versions(),
    }
    write_text(beside, json.dumps(record, indent=2) + "\n")


def _measured(done: Conversion) -> dict[str, Any] | None:
    if done.report is None:
        return None
    report = done.report
    return {
        "source": report.reference,
        "destination": report.other,
        "largest_deviation": report.worst.deviation,
        "at": report.worst.name,
        "tolerance": report.tolerance,
    }

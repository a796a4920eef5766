"""A record beside a converted checkpoint: what it was made from, by what, and how well it agrees."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilebert_core.checkpoints.formats import Checkpoint
from mobilebert_core.files import sha256, write_text

if TYPE_CHECKING:
    from .converting import Conversion

PROVENANCE_FILE = "provenance.json"
_PACKAGES = ("mobilebert", "numpy", "safetensors", "h5py", "torch", "tensorflow", "keras")


@dataclass(frozen=True)
class FileHashes:
    """SHA-256 by name of file."""

    source: dict[str, str]
    destination: dict[str, str]


def file_hashes(staged: Path, source: Checkpoint) -> FileHashes:
    """Of every file of weights in the source, and of all that was written."""
    folder = staged if staged.is_dir() else staged.parent
    _versions()  # here, where nobody waits for them
    return FileHashes(*({p.name: sha256(p) for p in paths} for paths in (source.parts, sorted(folder.iterdir()))))


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
            "format": done.target.name,
            "model": done.head.class_name,
            "dtype": done.dtype,
            "parameters": done.parameters,
            "sha256": hashes.destination,
        },
        "weights": {"mapped": len(done.mapped), "tied": dict(done.tied), "dropped": done.dropped},
        "notes": done.notes,
        "read_back": "bit by bit equal",
        "parity": _measured(done),
        "versions": {"python": platform.python_version(), **_versions()},
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


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

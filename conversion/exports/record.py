"""The record of an exported directory, export.json: what its file is, was made from, and how it was proved."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from mobilebert_core.errors import CheckpointError
from mobilebert_core.exports import INPUT_DTYPES, ExportSpec
from mobilebert_core.files import read_json, write_text
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.saves import arriving

EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class ExportRecord:
    """What stands in export.json.

    Attributes:
        format: name of its row in EXPORT_FORMATS, and of the runtime that runs it.
        precision, folding, mask_value, batch, length, input_dtype: as in `ExportSpec`.
        head: name of its row in HEADS.
        file: path of the model, relative to the directory.
        inputs: our name of each input -> its name in the file, in the order of the file.
        outputs: names in the order of the file.
        source: what it was made from: "name" and "sha256" by file.
        calibration: the file of texts, its digest and their number, or None.
        proof: what was measured against the source.
        versions: of the tools.
        sha256: digest of every file that was written, by its path.
    """

    format: str
    precision: str
    head: str
    file: str
    inputs: dict[str, str]
    outputs: list[str]
    batch: int | None = None
    length: int | None = None
    folding: str | None = None
    mask_value: float | None = None
    input_dtype: str = "int32"
    source: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    proof: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: ExportSpec, format_name: str, file: str, **more: Any) -> Self:
        """The record of a file that was written as `spec` says."""
        return cls(
            format_name,
            spec.precision,
            spec.head.name,
            file,
            spec.inputs,
            list(spec.outputs),
            batch=spec.batch,
            length=spec.length,
            folding=spec.folding,
            mask_value=spec.mask_value,
            input_dtype=spec.input_dtype,
            **more,
        )

    @property
    def head_row(self) -> Head:
        return HEADS[self.head]

    def write(self, directory: Path) -> None:
        write_text(directory / EXPORT_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The record of an exported directory.

        Raises:
            CheckpointNotFoundError: when the directory has none.
            CheckpointError: when it is damaged.
        """
        path = place_of(directory, EXPORT_FILE)
        values = read_json(path)
        known = {f.name for f in fields(cls)}
        try:
            record = cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as e:
            raise CheckpointError(f"{path}: wanted the record of an export, got another JSON file ({e}).") from None
        texts = (record.format, record.precision, record.head, record.file, record.input_dtype)
        named = (record.inputs, record.source, record.proof, record.versions, record.sha256)
        right = (
            all(isinstance(each, str) for each in texts)
            and all(isinstance(each, dict) for each in named)
            and isinstance(record.outputs, list)
            and isinstance(record.notes, list)
            and all(isinstance(each, str) for each in (*record.inputs.values(), *record.outputs, *record.notes))
            and all(each is None or (type(each) is int and each > 0) for each in (record.batch, record.length))
            and (record.calibration is None or isinstance(record.calibration, dict))
            and (record.mask_value is None or type(record.mask_value) in (int, float))
            and record.head in HEADS
            and record.input_dtype in INPUT_DTYPES
            and not Path(record.file).is_absolute()
            and ".." not in Path(record.file).parts
        )
        if not right:
            raise CheckpointError(f"{path}: is damaged: its values are not what an export writes.")
        return record


def place_of(directory: Path, name: str) -> Path:
    """Where a file of a directory is to be read while a save may be on its way there."""
    saved = arriving(directory)
    return saved / name if saved is not None and (saved / name).exists() else directory / name


def is_exported(path: Any) -> bool:
    """Whether a path is the directory of an export."""
    try:
        return place_of(Path(path), EXPORT_FILE).is_file()
    except (TypeError, ValueError, OSError):
        return False


__all__ = ["EXPORT_FILE", "ExportRecord", "is_exported", "place_of"]

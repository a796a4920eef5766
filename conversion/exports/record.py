"""The record of an exported directory, export.json: what its file is, was made from, and how it was proved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from mobilebert_core.errors import CheckpointError
from mobilebert_core.exports import INPUT_DTYPES, MLPERF_INPUTS, PRECISIONS, STATE, ExportSpec, scores_of
from mobilebert_core.files import CONFIG_FILE, EXPORT_FILE, TOKENIZER_FILES, read_json, sha256, write_text
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.saves import arriving

_OWN_DIGEST = "record_sha256"  # in the file, of all that stands beside it
_INPUT_NAMES = (TEXT_INPUTS, MLPERF_INPUTS)


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
        values = asdict(self)
        if self.sha256:
            values[_OWN_DIGEST] = _digest_of(values)
        write_text(directory / EXPORT_FILE, json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The record of an exported directory.

        Raises:
            CheckpointNotFoundError: when the directory has none.
            CheckpointError: when it is damaged, or of a version that exports something else.
        """
        path = place_of(directory, EXPORT_FILE)
        values = read_json(path)
        _check_own_digest(path, values)
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
            and all(isinstance(each, str) for each in (*record.outputs, *record.notes, *record.sha256.values()))
            and all(each is None or (type(each) is int and each > 0) for each in (record.batch, record.length))
            and (record.calibration is None or isinstance(record.calibration, dict))
            and (record.mask_value is None or type(record.mask_value) in (int, float))
            and record.head in HEADS
            and record.precision in PRECISIONS
            and record.input_dtype in INPUT_DTYPES
            and tuple(record.inputs.items()) in [tuple(zip(TEXT_INPUTS, n, strict=True)) for n in _INPUT_NAMES]
            and tuple(n for n in record.outputs if not n.startswith(STATE)) in scores_of(record.head_row)
            and not Path(record.file).is_absolute()
            and ".." not in Path(record.file).parts
        )
        if not right:
            raise CheckpointError(
                f"{path}: is damaged, or of a newer version: its values are not what an export writes. Export the "
                "model again."
            )
        return record

    def check_model(self, directory: Path) -> None:
        """Raises CheckpointError unless the model's file and its configuration are those that were exported.

        A runtime may crash on other bytes, or answer something else.
        """
        self._check(directory, [name for name in self.sha256 if name.startswith(self.file) or name == CONFIG_FILE])

    def check_tokenizer(self, directory: Path) -> None:
        """Raises CheckpointError unless the tokenizer is the one that was exported."""
        self._check(directory, [name for name in self.sha256 if name in TOKENIZER_FILES])

    def _check(self, directory: Path, names: Iterable[str]) -> None:
        for name in names:
            path = place_of(directory, name)
            whole = path.is_file() and sha256(path) == self.sha256[name]
            if not whole:
                said = "is another one" if path.is_file() else "is not there"
                raise CheckpointError(
                    f"{directory}: wanted the files that were exported, but {name} {said}. Fetch them or export the "
                    f"model again. If you changed it yourself, take its digest and {_OWN_DIGEST} out of {EXPORT_FILE}."
                )


def _digest_of(values: Mapping[str, Any]) -> str:
    """Of a record, as it is without it."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_own_digest(path: Path, values: Mapping[str, Any]) -> None:
    """Raises CheckpointError for a record with a digest of itself that should be another."""
    others = {name: value for name, value in values.items() if name != _OWN_DIGEST}
    if len(others) < len(values) and values[_OWN_DIGEST] != _digest_of(others):
        raise CheckpointError(f"{path}: was changed since it was written, or is damaged. Export the model again.")


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


def check_tokenizer_of(path: Any) -> None:
    """Raises CheckpointError for an exported directory with another tokenizer than the one that was exported."""
    if is_exported(path):
        ExportRecord.read(Path(path)).check_tokenizer(Path(path))

"""A checkpoint as a file for another runtime: loaded, folded, written, run in that runtime, compared, and then seen.

What fails on the way leaves nothing behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.detect_heads import natural_head
from mobilebert_core.checkpoints.opening import open_watched
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ExportError
from mobilebert_core.exports import DYNAMIC, MLPERF_LENGTH, ExportSpec, size_of
from mobilebert_core.files import VOCABULARY_FILES
from mobilebert_core.heads import HEADS
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.quantization.training import ranges_in
from mobilebert_core.saves import STAGE, current, saving
from mobilebert_core.text.model_fit import check_words
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast

from .formats import ExportFormat, export_format_named
from .job import Job, Say, Source, files_of
from .layouts import layout_named, write_settings
from .record import ExportRecord, is_exported
from .scores import task_file
from .texts import calibration_batches

FOLDS = ("auto", "none", "block", "all")


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        directory: where it is.
        record: what stands in its export.json.
        files: every file, by its path in the directory, with its size in bytes.
    """

    directory: Path
    record: ExportRecord
    files: dict[str, int]


def export(
    source: str | Path,
    directory: str | Path,
    *,
    format: str,
    precision: str = "fp32",
    head: str | None = None,
    length: int | str | None = None,
    batch: int | str | None = None,
    calibrate: str | Path | None = None,
    evaluate: str | Path | None = None,
    fold: str = "auto",
    mlperf: bool = False,
    input_dtype: str = "int32",
    layout: str | None = None,
    padding_invariant: bool | None = None,
    overwrite: bool = False,
    progress: Say | None = None,
) -> Exported:
    """Exports a checkpoint; see the `mobilebert export` command for the options.

    Args:
        source: whatever `open_checkpoint` takes, or a name on the Hugging Face hub.
        directory: what is made. It must not be there, be empty, or with `overwrite` hold an export.
        format: key of EXPORT_FORMATS.
        precision: one of PRECISIONS.
        head: key of HEADS; by default the one the checkpoint was saved from.
        length: of the rows, in tokens: a number, or "dynamic" (default).
        batch: rows at a time: a number, or "dynamic"; the default is the format's.
        calibrate: a file of texts like those of use, from which ranges of activations are taken. A model trained with
            `quantize` has learned its own, which are taken without a file; int8 in ONNX takes sentences of ours.
        evaluate: a file of labelled examples, on which source and export are scored.
        fold: basis in which norms are folded into the weights; "auto" takes the best of format and precision.
        mlperf: the file that MLPerf Mobile's app runs: 1 x 384, its names of inputs, end and start scores.
        input_dtype: of the inputs; transformers.js wants int64.
        layout: key of LAYOUTS: places and settings that a server of models reads; None for none.
        padding_invariant: overrides the configuration's: True makes an answer independent of what else is in its batch.
        progress: called with the name of each step.

    Raises:
        ExportError: for a pair of format and precision that there is not, a size that the model does not have, or a
            file that does not compute what its source computes. Nothing is left behind.
        BackendMissingError: when what writes or runs the format is not installed.
        CheckpointError: for a source that cannot be loaded, or a directory that cannot be written.
    """
    say = progress or (lambda step: None)
    row = _row(format, precision, input_dtype, fold, calibrate)
    served = layout_named(layout, format)
    path = _free(directory, overwrite)
    sizes = _sizes(row, batch, length, mlperf)
    say("open")
    opened = _opened(source, head, sizes[1], padding_invariant)
    spec = ExportSpec(opened.head, opened.config, "fp32", *sizes, mlperf=mlperf, input_dtype=input_dtype)
    limit = spec.length
    own = precision == "int8" and row.precision(precision).rewriter is not None
    batches = calibration_batches(calibrate, opened.tokenizer, opened.config, opened.head, limit, own)
    ranges = {} if batches else _learned(row, precision, opened.config)
    spec = replace(spec, precision=precision, calibration=batches, ranges=ranges)
    examples = (
        None if evaluate is None else task_file(Path(evaluate), opened.tokenizer, opened.config, opened.head, limit)
    )
    with saving(path) as save:
        file = row.precision(precision).file if served is None else served.file
        job = Job(row, spec, opened, fold, save.stage, say, file)
        job.write()
        job.prove()
        if examples is not None:
            job.evaluate(examples)
        if served is not None:
            write_settings(served, save.stage, path.resolve().name, job.spec)
        record = job.finish(str(source), calibrate)
        opened.check()
        save.stale |= _stale(path) if overwrite else set()
        files = {name: (save.stage / name).stat().st_size for name in files_of(save.stage)}
    return Exported(path, record, files)


def _row(format: str, precision: str, input_dtype: str, fold: str, calibrate: str | Path | None) -> ExportFormat:
    """The row of a format; raises ExportError for what it is not written in."""
    row = export_format_named(format)
    row.precision(precision)
    row.check_input_dtype(input_dtype)
    if fold not in FOLDS:
        raise ExportError(f"export: fold must be one of {', '.join(FOLDS)}, got {fold!r}.")
    if calibrate is not None and precision == "fp32":
        raise ExportError(f"export: fp32 has no use for texts to calibrate with, got {calibrate}. Leave them out.")
    return row


def _learned(row: ExportFormat, precision: str, config: MobileBertConfig) -> dict[str, tuple[float, float]]:
    """The ranges that a quantization-aware training left; raises ExportError for a format that cannot take them."""
    ranges = ranges_in(config) if precision == "int8-static" else None
    if ranges and row.name != "onnx":
        raise ExportError(
            f"export: the ranges that this model was trained with are taken by onnx; {row.name} measures its own from "
            "texts. Pass a file: --calibrate FILE."
        )
    return ranges or {}


def _opened(source: str | Path, head: str | None, length: int | None, padding_invariant: bool | None) -> Source:
    """The checkpoint, its head and its tokenizer; a demo tokenizer only to prove with, where it has none."""
    if is_exported(source):
        raise ExportError(f"{source}: is an export. Export the checkpoint that it was made from.")
    checkpoint, check = open_watched(resolve(source, config=True, weights=True, tokenizer=True))
    config = checkpoint.config()
    if padding_invariant is not None:
        config = config.copy(padding_invariant=padding_invariant)
    if head is not None and head not in HEADS:
        raise ExportError(f"export: no head {head!r}; there are {', '.join(HEADS)}.")
    chosen = HEADS[head] if head else natural_head(checkpoint.weights(config), config)
    own = any(current(checkpoint.folder / name).is_file() for name in VOCABULARY_FILES)
    tokenizer = MobileBertTokenizerFast.from_pretrained(checkpoint.folder if own else DEMO_MODEL)
    if own:
        check_words("export", tokenizer, config)
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if length is not None and length < special:
        raise ExportError(
            f"export: length must be at least {special}, for the special tokens of two texts, got {length}."
        )
    return Source(checkpoint, config, chosen, tokenizer, own, check)


def _free(directory: str | Path, overwrite: bool) -> Path:
    """The directory to write; raises CheckpointError when something is there."""
    if not str(directory):
        raise ExportError("export: wanted a directory to write, got an empty name. For this directory pass '.'.")
    path = Path(directory)
    if file := next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None):
        raise CheckpointError(f"{path}: wanted a directory to export to, got a file ({file}). Choose another place.")
    held = path.is_dir() and any(not each.name.startswith(STAGE) for each in path.iterdir())  # a killed save left those
    if held and not (overwrite and is_exported(path)):
        hint = "pass --overwrite" if is_exported(path) else "an empty directory"
        raise CheckpointError(f"{path}: holds files already. Choose another place, or {hint}.")
    return path


def _sizes(
    row: ExportFormat, batch: int | str | None, length: int | str | None, mlperf: bool
) -> tuple[int | None, int | None]:
    """Batch and length as numbers, or None where each call decides; raises ExportError."""
    usual: tuple[Any, Any] = (1, MLPERF_LENGTH) if mlperf else (row.batch or DYNAMIC, DYNAMIC)
    sizes = (
        size_of("batch", usual[0] if batch is None else batch),
        size_of("length", usual[1] if length is None else length),
    )
    if row.batch is not None and sizes[0] is None:
        raise ExportError(
            f"export: {row.name} plans its memory for a fixed batch, got {DYNAMIC!r}. Leave the batch out for "
            f"{row.batch}, or pass a number; its runner splits and fills batches."
        )
    return sizes


def _stale(path: Path) -> set[re.Pattern[str]]:
    """The files of the export that is replaced."""
    return {re.compile(re.escape(name)) for name in ExportRecord.read(path).sha256} if path.is_dir() else set()

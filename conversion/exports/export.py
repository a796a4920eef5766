"""A checkpoint as a file for another runtime: loaded, folded, written, run in that runtime, compared, and then seen.

What fails on the way leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.detect_heads import natural_head
from mobilebert_core.checkpoints.opening import Checkpoint, open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import CheckpointError, ConfigError, ExportError, InputError, MobileBertError, first_line
from mobilebert_core.exports import CALIBRATED, DYNAMIC, MLPERF_LENGTH, ExportSpec, size_of
from mobilebert_core.files import TOKENIZER_FILES, sha256, write_text
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.quantization.training import ranges_in
from mobilebert_core.saves import current, saving
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast
from mobilebert_core.training.evaluation import TaskFile

from ..versions import installed_versions
from .card import card
from .formats import ExportFormat, export_format_named
from .layouts import Layout, layout_named, write_settings
from .proof import Proof, compare_outputs, run_all, with_rounding
from .record import EXPORT_FILE, ExportRecord, is_exported
from .scores import task_file
from .states import diverging_layer
from .texts import calibration_batches, count_rows, sample_batches

FOLDS = ("auto", "none", "block", "all")
Say = Callable[[str], None]


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


@dataclass(frozen=True)
class _Source:
    """What is exported, opened and checked."""

    checkpoint: Checkpoint
    config: MobileBertConfig
    head: Head
    tokenizer: TokenizerBase
    own_tokenizer: bool


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
        length, batch: a number, or "dynamic" (default).
        calibrate: a file of texts like those of use, from which ranges of activations are taken. A model trained with
            `quantize` has learned its own, which are taken without a file; int8 in ONNX takes sentences of ours.
        evaluate: a file of labelled examples, on which source and export are scored.
        fold: basis in which norms are folded into the weights; "auto" takes the best of format and precision.
        mlperf: the file that MLPerf Mobile's app runs: 1 x 384, its names of inputs, end and start scores.
        input_dtype: of the inputs; transformers.js wants int64.
        layout: key of LAYOUTS: places and settings that a server of models reads; None for none.
        progress: called with the name of each step.

    Raises:
        ExportError: for a pair of format and precision that there is not, a size that the model does not have, or a
            file that does not compute what its source computes. Nothing is left behind.
        BackendMissingError: when what writes or runs the format is not installed.
        CheckpointError: for a source that cannot be loaded, or a directory that cannot be written.
    """
    say = progress or (lambda step: None)
    row = _row(format, precision, input_dtype, fold)
    served = layout_named(layout, format)
    path = _free(directory, overwrite)
    sizes = _sizes(row, batch, length, mlperf)
    say("open")
    opened = _opened(source, head)
    spec = ExportSpec(opened.head, opened.config, "fp32", *sizes, mlperf=mlperf, input_dtype=input_dtype)
    limit = spec.length
    own = precision == "int8" and row.precision(precision).rewriter is not None
    batches = calibration_batches(calibrate, opened.tokenizer, opened.config, opened.head, limit, own)
    spec = replace(
        spec,
        precision=precision,
        calibration=batches,
        ranges={} if batches else _learned(row, precision, opened.config),
    )
    examples = (
        None if evaluate is None else task_file(Path(evaluate), opened.tokenizer, opened.config, opened.head, limit)
    )
    with saving(path) as save:
        say("load")
        job = _Job(row, spec, opened, fold, save.stage, say, served)
        if examples is not None:
            job.evaluate(examples)
        if served is not None:
            write_settings(served, save.stage, path.resolve().name, job.spec)
        record = job.finish(str(source), calibrate)
        save.stale |= _stale(path) if overwrite else set()
        files = {name: (save.stage / name).stat().st_size for name in _files(save.stage)}
    return Exported(path, record, files)


class _Job:
    """One export between its checks and its publication: the file is written into the stage when this is made."""

    def __init__(
        self, row: ExportFormat, spec: ExportSpec, opened: _Source, fold: str, stage: Path, say: Say,
        layout: Layout | None,
    ) -> None:  # fmt: skip
        self.row, self.opened, self.stage, self.say = row, opened, stage, say
        self.writer = row.load_writer()
        self.notes: list[str] = [] if opened.own_tokenizer else ["the source has no tokenizer, nor has the export"]
        self.reference = self._source("float32")
        self.batches = sample_batches(opened.tokenizer, opened.config, opened.head, spec.length)
        say("run the source")
        self.expected = run_all(self.reference, self.batches)
        self._check_finite()
        self.with_own_states: Any = None
        self.model, self.spec = self._prepared(spec, fold)
        say("write")
        self.file = row.precision(spec.precision).file if layout is None else layout.file
        self._write(self.spec, stage)
        self.scored: dict[str, Any] | None = None
        say("prove")
        self.runner = row.runtime.runner("export").from_pretrained(opened.head.name, stage)
        self.proof = self._proof()

    def _source(self, dtype: str) -> Any:
        """The runner of the source in its framework."""
        checkpoint = self.opened.checkpoint
        place = checkpoint.path
        return self.row.framework.runner("export").from_pretrained(
            self.opened.head.name, place, config=self.opened.config, dtype=dtype, **_cpu(self.row)
        )

    def _prepared(self, spec: ExportSpec, fold: str) -> tuple[Any, ExportSpec]:
        """The model as it is written, and the facts of it."""
        model = self.reference.model
        usual = None if spec.ranges else self.row.precision(spec.precision).folding  # they are of the unfolded model
        basis = usual if fold == "auto" else None if fold == "none" else fold
        if basis is not None:
            self.say("fold")
            folding = self.row.framework.load("folding", "export")
            try:
                model = folding.fold(model, basis, self._one_batch(spec) if basis == "half" else None)
                if model.config.folding is None:
                    self.notes.append("not folded: layer norm depends on each token and is part of no weight")
                basis = model.config.folding
            except ConfigError as e:
                if fold != "auto":
                    raise
                self.notes.append(f"not folded: {e}")
                basis = None
        spec = replace(spec, folding=basis)
        # LiteRT's dynamic int8 has a scale for each token: there even features cost the weights more than they gain.
        fitted = spec.precision in CALIBRATED or self.row.precision(spec.precision).rewriter is not None
        return self._calibrated(model, spec) if fitted and spec.calibration else (model, spec)

    def _calibrated(self, model: Any, spec: ExportSpec) -> tuple[Any, ExportSpec]:
        """The model with a mask value of the size of its scores where these become integers, and scales that suit them
        where its basis allows.

        The scales change the states between its blocks, so a copy with those of the source is kept.
        """
        self.say("calibrate")
        tools = self.row.framework.load("calibration", "export")
        seen = tools.calibrate(self.reference.model if spec.folding == "all" else model, spec.calibration)
        spec = replace(spec, mask_value=seen.mask_constant if spec.precision in CALIBRATED else None)
        self.with_own_states = tools.copy_of(model)
        model = tools.migrate(model, seen) if spec.folding == "block" else tools.copy_of(model)
        for each in (model, self.with_own_states):
            each.config.mask_value = spec.mask_value
        return model, spec

    def _one_batch(self, spec: ExportSpec) -> dict[str, np.ndarray]:
        """The texts of calibration, or those of the proof, as one batch, from which powers of two are chosen."""
        batches = spec.calibration or self.batches
        length = max(batch[TEXT_INPUTS[0]].shape[-1] for batch in batches)

        def filled(array: np.ndarray) -> np.ndarray:
            return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])])

        return {name: np.concatenate([filled(batch[name]) for batch in batches]) for name in TEXT_INPUTS}

    def _check_finite(self) -> None:
        """Raises ExportError for a source that gives NaN, as one does whose states overflow; its weights are finite."""
        for outputs in self.expected:
            for name, array in outputs.items():
                if not np.isfinite(array).all():
                    raise ExportError(
                        f"{self.opened.checkpoint.path}: wanted a model that gives finite {name}, got NaN or infinity "
                        "from plain sentences: its numbers overflow float32. Nothing was written."
                    )

    def _write(self, spec: ExportSpec, directory: Path) -> None:
        """Writes the file with what its runner needs."""
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self.writer(self.model, spec, directory / self.file)
            if rewriter := self.row.precision(spec.precision).rewriter:
                tools = self.row.framework.load("calibration", "export")
                self.row.runtime.require(rewriter, "export").rewrite(
                    directory / self.file, spec, lambda: tools.dense_matrices(self.model)
                )
        except MobileBertError:
            raise
        except Exception as e:  # whatever a converter raises
            raise ExportError(
                f"export: {self.row.name} cannot be written: {type(e).__name__}: {first_line(e)}. Nothing was left."
            ) from e
        self.opened.config.copy(architectures=[self.opened.head.class_name]).save_pretrained(directory)
        ExportRecord.of(spec, self.row.name, self.file).write(directory)

    def _proof(self) -> Proof:
        """The comparison with the source; raises ExportError beyond the bar."""
        names = self.spec.outputs
        try:
            found = run_all(self.runner, self.batches)
        except InputError as e:
            raise ExportError(f"{self.row.name} in {self.spec.precision}: {e} Nothing was written.") from None
        opened = self.opened
        proof = compare_outputs(
            opened.config, opened.head, self.spec.precision, names, self.batches, self.expected, found
        )
        if self.spec.precision == "fp32" and proof.first_divergence is not None:
            self.say("run the source in float64")
            exact = self._source("float64")
            proof = with_rounding(proof, run_all(exact, self.batches), self.expected)
        if (worst := proof.first_divergence) is None:
            return proof
        self.say("look for the layer")
        layer = diverging_layer(self.reference.model, self._runner_with_states, self.batches, self.spec.precision)
        hint = "" if self.spec.precision == "fp32" else "; choose another precision, or other texts to calibrate with"
        raise ExportError(
            f"{self.row.name} in {self.spec.precision}: {proof.describe(worst)}{layer}. Nothing was written{hint}."
        )

    def _runner_with_states(self, directory: Path) -> Runner:
        """The same file, written again with its hidden states among the outputs."""
        self.model = self.with_own_states or self.model
        self._write(replace(self.spec, with_states=True), directory)
        runner: Runner = self.row.runtime.runner("export").from_pretrained(self.opened.head.name, directory)
        return runner

    def evaluate(self, examples: TaskFile) -> None:
        """Scores source and export on a file of examples."""
        self.say("score the source")
        source = examples.scores(self.reference)
        self.say("score the export")
        self.scored = {
            "examples": len(examples.features.rows), "source": source, "export": examples.scores(self.runner)
        }  # fmt: skip

    def finish(self, source: str, calibrate: str | Path | None) -> ExportRecord:
        """Writes tokenizer, card and record."""
        self.say("describe")
        if self.opened.own_tokenizer:
            self.opened.tokenizer.save_pretrained(self.stage)
        calibration = None
        if calibrate is not None:
            path = Path(calibrate)
            calibration = {"file": path.name, "sha256": sha256(path), "rows": count_rows(self.spec.calibration)}
        proof = self.proof.to_dict() | ({} if self.scored is None else {"scores": self.scored})
        parts = {part.name: sha256(part) for part in self.opened.checkpoint.parts}
        record = ExportRecord.of(
            self.spec, self.row.name, self.file, calibration=calibration, proof=proof, notes=self.notes,
            source={"name": name_of(source), "sha256": parts},
            versions=installed_versions(),
        )  # fmt: skip
        size = sum(p.stat().st_size for p in _within(self.stage / self.file))
        write_text(self.stage / "README.md", card(record, size))
        digests = {name: sha256(self.stage / name) for name in _files(self.stage) if name != EXPORT_FILE}
        record = replace(record, sha256=digests)
        record.write(self.stage)
        return record


def _row(format: str, precision: str, input_dtype: str, fold: str) -> ExportFormat:
    """The row of a format; raises ExportError for what it is not written in."""
    row = export_format_named(format)
    row.precision(precision)
    row.check_input_dtype(input_dtype)
    if fold not in FOLDS:
        raise ExportError(f"export: fold must be one of {', '.join(FOLDS)}, got {fold!r}.")
    return row


def _learned(row: ExportFormat, precision: str, config: MobileBertConfig) -> dict[str, tuple[float, float]]:
    """The ranges that a quantization-aware training left, where the format can take them."""
    return (ranges_in(config) or {}) if row.name == "onnx" and precision == "int8-static" else {}


def _opened(source: str | Path, head: str | None) -> _Source:
    """The checkpoint, its head and its tokenizer; a demo tokenizer only to prove with, where it has none."""
    if is_exported(source):
        raise ExportError(f"{source}: is an export. Export the checkpoint that it was made from.")
    checkpoint = open_checkpoint(resolve(source, config=True, weights=True, tokenizer=True))
    config = checkpoint.config()
    if head is not None and head not in HEADS:
        raise ExportError(f"export: no head {head!r}; there are {', '.join(HEADS)}.")
    chosen = HEADS[head] if head else natural_head(checkpoint.weights(config), config)
    own = any(current(checkpoint.folder / name).is_file() for name in TOKENIZER_FILES[:2])
    tokenizer = MobileBertTokenizerFast.from_pretrained(checkpoint.folder if own else DEMO_MODEL)
    return _Source(checkpoint, config, chosen, tokenizer, own)


def _free(directory: str | Path, overwrite: bool) -> Path:
    """The directory to write; raises CheckpointError when something is there."""
    if not str(directory):
        raise ExportError("export: wanted a directory to write, got an empty name. For this directory pass '.'.")
    path = Path(directory)
    if file := next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None):
        raise CheckpointError(f"{path}: wanted a directory to export to, got a file ({file}). Choose another place.")
    if path.is_dir() and any(path.iterdir()) and not (overwrite and is_exported(path)):
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


def _cpu(row: ExportFormat) -> dict[str, Any]:
    return {"device": "cpu"} if row.backend == "torch" else {}


def _within(place: Path) -> Sequence[Path]:
    return [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]


def _files(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())

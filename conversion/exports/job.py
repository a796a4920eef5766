"""The steps of one export: the source loaded and run, folded, written as a file, and that file run and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.opening import Checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, ExportError, InputError, MobileBertError, first_line, interruption_in
from mobilebert_core.exports import CALIBRATED, ExportSpec
from mobilebert_core.files import EXPORT_FILE, sha256, write_text
from mobilebert_core.heads import Head
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.training.evaluation import TaskFile

from ..versions import installed_versions
from .card import card
from .formats import ExportFormat, Writer
from .proof import Proof, compare_outputs, run_all, with_rounding
from .record import ExportRecord
from .states import diverging_layer
from .texts import count_rows, sample_batches

Say = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """What is exported, opened and checked. `check` raises CheckpointError when its files were replaced since."""

    checkpoint: Checkpoint
    config: MobileBertConfig
    head: Head
    tokenizer: TokenizerBase
    own_tokenizer: bool
    check: Callable[[], None]


@dataclass
class Job:
    """One export between its checks and its publication: made, then written, proved, and perhaps scored.

    Attributes:
        reference, expected: the runner of the source and its outputs on `batches`, from `write` on.
        model: as it is written, folded and perhaps migrated; `with_own_states` is one with the source's states.
        runner, proof: of the written file, from `prove` on.
    """

    row: ExportFormat
    spec: ExportSpec
    opened: Source
    fold: str
    stage: Path
    say: Say
    file: str
    notes: list[str] = field(default_factory=list)
    writer: Writer = field(init=False)
    reference: Any = field(init=False)
    batches: list[dict[str, np.ndarray]] = field(init=False)
    expected: list[dict[str, np.ndarray]] = field(init=False)
    model: Any = field(init=False)
    with_own_states: Any = None
    runner: Runner = field(init=False)
    proof: Proof = field(init=False)
    scored: dict[str, Any] | None = None

    def write(self) -> None:
        """Loads and runs the source, and writes the file into the stage."""
        self.say("load")
        self.writer = self.row.load_writer()
        if not self.opened.own_tokenizer:
            self.notes.append("the source has no tokenizer, nor has the export")
        self.reference = self._source("float32")
        self.batches = sample_batches(self.opened.tokenizer, self.opened.config, self.opened.head, self.spec.length)
        self.say("run the source")
        self.expected = run_all(self.reference, self.batches)
        self._check_finite()
        self.model, self.spec = self._prepared(self.spec)
        self.say("write")
        self._write(self.spec, self.stage)

    def prove(self) -> None:
        """Runs the file in its runtime; raises ExportError where its answers are not those of the source."""
        self.say("prove")
        self.runner = self.row.runtime.runner("export").from_pretrained(self.opened.head.name, self.stage)
        self.proof = self._proof()

    def _source(self, dtype: str) -> Any:
        """The runner of the source in its framework."""
        opened = self.opened
        return self.row.open_source("export", opened.head.name, opened.checkpoint.path, opened.config, dtype)

    def _prepared(self, spec: ExportSpec) -> tuple[Any, ExportSpec]:
        """The model as it is written, and the facts of it."""
        model = self.reference.model
        usual = None if spec.ranges else self.row.precision(spec.precision).folding  # they are of the unfolded model
        basis = usual if self.fold == "auto" else None if self.fold == "none" else self.fold
        if basis is not None:
            self.say("fold")
            folding = self.row.framework.load("folding", "export")
            try:
                model = folding.fold(model, basis, self._one_batch(spec) if basis == "half" else None)
                if model.config.folding is None:
                    self.notes.append("not folded: layer norm depends on each token and is part of no weight")
                basis = model.config.folding
            except ConfigError as e:
                if self.fold != "auto":
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
            if (interruption := interruption_in(e)) is not None:
                raise type(interruption) from e
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
        write_text(
            self.stage / "README.md", card(record, size, self.opened.config, tokenizer=self.opened.own_tokenizer)
        )
        digests = {name: sha256(self.stage / name) for name in files_of(self.stage) if name != EXPORT_FILE}
        record = replace(record, sha256=digests)
        record.write(self.stage)
        return record


def _within(place: Path) -> Sequence[Path]:
    return [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]


def files_of(directory: Path) -> list[str]:
    """Every file below a directory, by its path in it."""
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())

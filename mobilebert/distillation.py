"""One knowledge transfer from text and a teacher to a student: the parts of core and one backend put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conversion.backends import FRAMEWORKS, Backend, backend_named
from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.digests import model_digests, tokenizer_digests
from mobilebert_core.checkpoints.opening import Checkpoint, open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.datasets.examples import Examples, ReadOptions
from mobilebert_core.errors import ConfigError
from mobilebert_core.files import read_json
from mobilebert_core.heads import HEADS
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.model_fit import limit_to_model
from mobilebert_core.training.defaults import curve_notes
from mobilebert_core.training.evaluation import Evaluation
from mobilebert_core.training.following import run_directory
from mobilebert_core.training.knowledge_transfer import Schedule, TransferSettings, schedule
from mobilebert_core.training.knowledge_transfer_course import TransferCourse
from mobilebert_core.training.knowledge_transfer_start import (
    Pair,
    copied_from,
    outside_of_blocks,
    random_note,
    with_fitted_norm,
)
from mobilebert_core.training.loop import TrainingLoop
from mobilebert_core.training.ranks import Ranks, lengths_of
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from mobilebert_core.training.run_directory import CURVES_FILE, DIGESTS, PROGRESS_FILE, RunDirectory
from mobilebert_core.training.state import SAVE_EVERY
from mobilebert_core.training.tasks.masked_language import FillMaskTraining
from mobilebert_core.training.tasks.table import training_task_named
from mobilebert_core.training.tasks.training_task import Features, TrainingTask
from mobilebert_core.training.trainer import TrainerBase
from mobilebert_core.weights import every_weight, weight_table

from .distillation_report import draw_terms, write_transfer_card
from .distillation_teacher import LoadedTeacher, load_teacher
from .launching import train_together
from .path_fields import PathFields
from .random_start import check_config_fields, config_of, has_no_weights, start_digests
from .streams import say
from .training_data import TrainingData, check_segments, rows_said
from .training_report import picture_missing

# Like the released code: nothing is dropped while a student looks at its teacher.
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# What the student's embeddings share with the teacher's, and its tokenizer with both.
_OF_THE_TEACHER = ("vocab_size", "max_position_embeddings", "type_vocab_size", "pad_token_id")
_MANY_STEPS = 1 << 40  # for stages of any share


@dataclass(frozen=True, kw_only=True)
class Distillation(PathFields):
    """Which student learns what from which teacher. Paths may be text; they are kept as passed.

    Attributes:
        teacher: a checkpoint of a MobileBERT or IB-BERT with a masked-language head, and its tokenizer.
        student: a preset's name or the path of a configuration for random weights, or a checkpoint to go on from.
        data: files of text, patterns, or directories: with train.*, and dev.* if there is, or all their files.
        output: a new directory for the student, its curves and its card.
        dev: a file to evaluate on at the end of every stage.
        shards: where the rows are kept, made once and mapped into memory; those of `mobilebert pretrain` will do,
            where its rows are the same. The default lies beside the output.
        held_out: of so many rows one is evaluated on in place of learned from, where there is no dev file.
        task: "pretraining" (pairs of sentences) or "fill-mask".
        settings: strategy and weights of the transfer.
        recipe: of the last stage; its warm-up is that of every stage. The task's where there is none.
        changes: fields of the recipe in place of its own.
        fields: of the student's configuration.
        copy: whether a student of random weights starts with the teacher's embeddings and heads.
    """

    teacher: str
    student: str
    data: Path | Sequence[str | Path]
    output: Path
    dev: Path | None = None
    shards: Path | None = None
    held_out: int = 0
    task: str = "pretraining"
    settings: TransferSettings = field(default_factory=TransferSettings)
    recipe: Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    read: ReadOptions = field(default_factory=ReadOptions)
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    copy: bool = True
    backend: str = "torch"
    precision: str = "float32"
    device: str | None = None
    save_every: int = SAVE_EVERY
    resume: bool = False
    progress: bool | None = None

    def run(self) -> dict[str, Any]:
        """Trains, and returns what training.json then holds: settings, stages, rows, notes and scores.

        Everything is read and checked before the first file is written, except shards of rows. Started by a
        launcher, every process calls this; together they take the steps that one would take, and the first writes.

        Raises:
            DataError: for text that cannot be learned from.
            CheckpointError, ConfigError, TokenizerError: for a model, tokenizer or option that does not fit.
            ConfigError: also for several processes that were not started to work together, or train with Keras.
            TrainingError: when the loss is no longer finite, or another process has ended.
        """
        return train_together(self._run, "distill", self.backend, self.device)

    def _run(self, ranks: Ranks) -> dict[str, Any]:
        kind = training_task_named(self.task)
        if not issubclass(kind, FillMaskTraining):
            raise ConfigError(f"distill: the task must be pretraining or fill-mask, got {self.task!r}.")
        backend = backend_named(self.backend, "distill", FRAMEWORKS)
        check_config_fields("distill", str(self.student), self.fields)
        data = TrainingData.of_text(
            kind, self.read, self.data, self.dev, self.shards, self.output, self.held_out
        )  # fmt: skip
        recipe = (self.recipe or kind.recipe).replace(**self.changes)
        whole = sum(self.settings.stage_steps or ())
        if whole and recipe.max_steps not in (None, whole):
            raise ConfigError(
                f"distill: the stages have {whole} steps together, so wanted no max_steps of {recipe.max_steps}. Leave "
                "one of the two out."
            )
        sentences = kind.head == "PreTraining"
        columns = ("stage", *self.settings.terms(sentences))
        directory = run_directory(ranks, self.output, self._settings(recipe, data), self.resume, columns)
        if not directory.finished:
            with closing(directory):
                self._train(kind, backend, recipe, data, directory, ranks)
        return ranks.first(directory.results)

    # ------------------------------------------------------------------------------------------ parts

    def _train(
        self,
        kind: type[FillMaskTraining],
        backend: Backend,
        recipe: Recipe,
        data: TrainingData,
        run_directory: RunDirectory,
        ranks: Ranks,
    ) -> None:
        checkpoint = open_checkpoint(resolve(self.teacher, config=True, weights=True))
        teacher_config = checkpoint.config()
        config = self._student_config(teacher_config)
        tokenizer = self._tokenizer(config)
        task = kind(tokenizer, config, self.max_length, seed=recipe.seed, **self.options)

        def stages_of(steps: int) -> Schedule:
            return schedule(self.settings, config.num_hidden_layers, steps, recipe, kind.head == "PreTraining")

        # What the stages read is the same in however many steps, and what does not fit is refused before text is read.
        Pair.of(self.settings, stages_of(_MANY_STEPS), teacher_config, config, longest=1)
        teacher = load_teacher(self.teacher, checkpoint, kind.head, stages_of(_MANY_STEPS), backend, self.precision)
        trainer = self._trainer(kind, backend, recipe, config, run_directory.saved, ranks)
        examples = data.examples()
        features = data.features(task, examples, run_directory.settings, ranks)
        check_segments(config, features)
        stages = stages_of(self._steps(recipe, features["train"]))
        each = recipe.steps_per_epoch(len(features["train"].rows))
        recipe = recipe.replace(max_steps=stages.steps, epochs=max(recipe.epochs, -(-stages.steps // each)))
        pair = Pair.of(self.settings, stages, teacher_config, config, int(lengths_of(features["train"].rows).max()))
        random, taken = self._take_over(kind, trainer, checkpoint, features["train"].rows, run_directory.saved)
        course = TransferCourse(
            trainer,
            pair,
            self._objective_maker(backend, trainer),
            teacher.model,
            random,
            recipe.seed,
            "float64" if self.precision == "float64" else "float32",
        )
        dev = None
        if "dev" in features:
            found = examples.get("dev", examples["train"])  # rows that were held out are of the same files
            dev = Evaluation(trainer, task, found, features["dev"], recipe.seed, False)
        notes = taken + ranks.first(lambda: self._notes(stages, pair, backend, teacher, task, dev))
        for note in notes * (ranks.rank == 0):
            say(note)
        best = self._loop(trainer, task, recipe, features["train"], run_directory, tokenizer, dev, course).run()
        if ranks.rank == 0:
            self._end(run_directory, recipe, pair, examples, features, notes, best)

    def _end(
        self, run_directory: RunDirectory, recipe: Recipe, pair: Pair, examples: Mapping[str, Examples],
        features: Mapping[str, Features], notes: list[str], best: Mapping[str, float],
    ) -> None:  # fmt: skip
        number, curves = len(pair.schedule.stages), read_curves(self.output / CURVES_FILE)
        last = [float(row["loss"]) for row in curves if float(row["stage"]) == number]
        notes = [*notes, *curve_notes(last, sweeps=False), *picture_missing()]
        results = rows_said(examples, features, notes) | {
            "stages": [
                {"name": s.name, "steps": s.steps, "weights": dict(s.weights)} for s in pair.schedule.stages
            ],
            "dev": dict(best),
        }  # fmt: skip
        draw_terms(self.output, [stage.name for stage in pair.schedule.stages])
        write_transfer_card(self, recipe, pair, results)
        run_directory.end(**results)

    def _loop(
        self, trainer: TrainerBase, task: TrainingTask, recipe: Recipe, features: Features,
        run_directory: RunDirectory, tokenizer: Any, dev: Evaluation | None, course: TransferCourse,
    ) -> TrainingLoop:  # fmt: skip
        sparse = bool(self.fields.get("sparse_prediction", False))
        kept = trainer.config.copy(sparse_prediction=sparse, **self._own_dropout())

        return TrainingLoop(
            trainer,
            features.rows,
            task.batch,
            recipe,
            run_directory,
            lambda: run_directory.keep(trainer, tokenizer, config=kept),
            evaluate=dev,
            best_metric=task.best_metric,
            lower_is_better=task.lower_is_better,
            save_every=self.save_every,
            progress=self.progress if trainer.ranks.rank == 0 else False,
            course=course,
            ranks=trainer.ranks,
        )

    def _notes(
        self, stages: Schedule, pair: Pair, backend: Backend, teacher: LoadedTeacher,
        task: FillMaskTraining, dev: Evaluation | None,
    ) -> list[str]:  # fmt: skip
        """What is said of the pair, and of the teacher's scores by as much of the task as it knows."""
        notes = []
        if any(stage.blocks for stage in stages.stages) and pair.follows != tuple(
            range(pair.teacher.num_hidden_layers)
        ):
            follows = " ".join(str(block + 1) for block in pair.follows)
            notes.append(
                f"the student's blocks follow these of the teacher's {pair.teacher.num_hidden_layers}: {follows}"
            )
        if dev is not None and (scored := teacher.scored_on(task, pair.student)) is not None:
            runner = backend.runner("distill")(teacher.model, self.device)
            scores = Evaluation(runner, scored, dev.examples, dev.features, dev.seed, False).plain()
            notes.append("the teacher on the dev rows: " + ", ".join(f"{n} {v:.4g}" for n, v in scores.items()))
        return notes

    # ------------------------------------------------------------------------------------------ models

    def _trainer(
        self, kind: type[TrainingTask], backend: Backend, recipe: Recipe, config: MobileBertConfig, saved: Path | None,
        ranks: Ranks,
    ) -> TrainerBase:  # fmt: skip
        """The student, before it takes anything over."""
        start = backend.trainer("distill").start
        common = {"precision": self.precision, "device": self.device, "ranks": ranks}
        fields = {"sparse_prediction": True, **_NO_DROPOUT, **self._chosen_dropout()}
        trainer: TrainerBase
        if saved is not None:
            trainer = start(kind.head, saved, recipe, **common)
        elif has_no_weights(self.student):
            trainer = start(kind.head, None, recipe, config=config.copy(**fields), **common)
        else:
            trainer = start(kind.head, self.student, recipe, **common, **{**self.fields, **fields})
        return trainer

    def _take_over(
        self, kind: type[TrainingTask], trainer: TrainerBase, checkpoint: Checkpoint, rows: Sequence[Any],
        saved: Path | None,
    ) -> tuple[tuple[str, ...], list[str]]:  # fmt: skip
        """Gives a student of random weights what is the teacher's, unless it was saved since.

        Returns the names of weights outside of the blocks that every stage has to train, as they were neither copied
        nor in the student's checkpoint, and notes.
        """
        if not has_no_weights(self.student):
            progress = {} if saved is None else read_json(saved / PROGRESS_FILE)
            drawn = outside_of_blocks(progress.get("newly_initialized", trainer.newly_initialized))
            return drawn, [random_note(drawn, "not in the student but newly initialized")] * bool(drawn)
        theirs = checkpoint.weights(checkpoint.config())
        known = [w for w in every_weight(checkpoint.config()) if self.copy and w.full_name in theirs.stored]
        full = (dataclasses.replace(weight, name=weight.full_name) for weight in known)
        arrays, report = copied_from(full, weight_table(trainer.config, HEADS[kind.head]), theirs.read)
        arrays, report = with_fitted_norm(arrays, report, theirs.read, checkpoint.config(), rows)
        if saved is None:
            trainer.assign({name: array.astype(trainer.array(name).dtype) for name, array in arrays.items()})
        return report.not_taught, report.said()

    def _objective_maker(self, backend: Backend, trainer: TrainerBase) -> Any:
        transfer = backend.load("knowledge_transfer", "distill").KnowledgeTransfer
        device = getattr(trainer, "device", None)
        return lambda teacher, comparison, start: transfer(teacher, comparison, start, device)

    def _student_config(self, teacher: MobileBertConfig) -> MobileBertConfig:
        """The student's configuration. Random weights take the sizes of their embeddings from the teacher."""
        names = _OF_THE_TEACHER if has_no_weights(self.student) else ()
        return config_of(self.student, **{**{name: getattr(teacher, name) for name in names}, **self.fields})

    def _own_dropout(self) -> dict[str, float]:
        """The dropout that the saved student says, whatever it learned with."""
        config = config_of(self.student, **self.fields)
        return {name: getattr(config, name) for name in _NO_DROPOUT}

    def _chosen_dropout(self) -> dict[str, Any]:
        return {name: value for name, value in self.fields.items() if name in _NO_DROPOUT}

    def _tokenizer(self, config: MobileBertConfig) -> Any:
        """The teacher's, which a student with a tokenizer of its own must share.

        Raises:
            ConfigError: for a student with other words.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.teacher)
        if not has_no_weights(self.student):
            own = AutoTokenizer.from_pretrained(self.student)
            if own.get_vocab() != tokenizer.get_vocab():
                raise ConfigError(
                    f"distill: {self.student} has other words than the teacher, so that their scores cannot be "
                    "compared. Take a student with the teacher's vocabulary, or a preset."
                )
        if len(tokenizer) > config.vocab_size:
            raise ConfigError(
                f"distill: the tokenizer of {self.teacher} has {len(tokenizer)} words, the student "
                f"{config.vocab_size}. Take a student whose vocab_size holds them, or a preset."
            )
        limit_to_model(tokenizer, config)
        return tokenizer

    # ------------------------------------------------------------------------------------------ data

    def _steps(self, recipe: Recipe, features: Features) -> int:
        chosen = self.settings.stage_steps
        return sum(chosen) if chosen else recipe.steps(len(features.rows))

    def _settings(self, recipe: Recipe, data: TrainingData) -> dict[str, Any]:
        """All that decides the numbers, in plain values."""
        return {
            "task": self.task,
            "teacher": name_of(self.teacher),
            "student": name_of(self.student),
            DIGESTS: {
                "teacher": model_digests(self.teacher),
                "student": start_digests(self.student),
                "tokenizer": tokenizer_digests(self.teacher),
            },
            "transfer": dataclasses.asdict(self.settings),
            "backend": self.backend,
            "precision": self.precision,
            **data.settings(),
            "read": dataclasses.asdict(self.read),
            "recipe": dataclasses.asdict(recipe),
            "fields": dict(self.fields),
            "options": dict(self.options),
            "max_length": self.max_length,
            "copy": self.copy,
        }

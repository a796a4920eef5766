"""One training from a data file to a model that answers: the parts of core and one backend put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from conversion.backends import FRAMEWORKS, Backend, backend_named
from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.digests import tokenizer_digests
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL
from mobilebert_core.datasets.examples import Examples, ReadOptions
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import BackendMissingError, CheckpointError, ConfigError
from mobilebert_core.files import VOCABULARY_FILES, WEIGHTS_FILE
from mobilebert_core.heads import HEADS
from mobilebert_core.text.model_fit import limit_to_model
from mobilebert_core.text.word_lists import tokenizer_at
from mobilebert_core.training.defaults import curve_notes, swept_losses
from mobilebert_core.training.evaluation import Evaluation
from mobilebert_core.training.following import run_directory
from mobilebert_core.training.loop import TrainingLoop
from mobilebert_core.training.ranks import Ranks
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_checks import read_curves
from mobilebert_core.training.run_directory import CURVES_FILE, DIGESTS, RunDirectory
from mobilebert_core.training.state import SAVE_EVERY
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.table import training_task_named
from mobilebert_core.training.tasks.training_task import Features, TrainingTask
from mobilebert_core.training.trainer import TrainerBase
from mobilebert_core.weights import weight_table

from .launching import train_together
from .path_fields import PathFields
from .random_start import check_config_fields, config_of, has_no_weights, start_digests
from .recipe_choice import RecipeChoice, said_before
from .streams import say
from .teaching import Lesson, Teaching
from .training_data import TrainingData, check_alone, check_segments, rows_said
from .training_report import draw_curves, picture_missing, write_card

_CLASSIFIER_BIAS = "classifier.bias"


@dataclass(frozen=True, kw_only=True)
class Training(PathFields):
    """What to train, on what, and how. Paths may be text; they are kept as passed.

    Attributes:
        task: a key of `TRAINING_TASKS`, or an alias.
        data: a file, or a directory with train.*, and dev.* or test.* if there are; or several files, directories
            or patterns of training data alone.
        model: a checkpoint or its name (hub, `SHIPPED_MODELS`), or a preset's name or a config.json for random weights.
        output: a new directory for the model, its curves and its card.
        dev: a file to evaluate on, in place of the directory's.
        tokenizer: where it is, if not with the model; presets get the vocabulary of the package.
        recipe: in place of the defaults, which depend on the task, the size of the model and its start.
        changes: fields of the recipe, in place of its own; the learning rate may be "sweep", which tries several.
        fields: of the configuration, in place of the model's.
        options: of the task, such as `doc_stride`.
        quantize: "int8" rounds inputs and matrices of dense layers in training as static int8 does.
        tune_thresholds: for several labels: find on the dev rows the threshold of each label whose F1 is best, and
            move the classifier's bias so that it lies at 0, a probability of 0.5.
        teaching: a teacher whose scores are learned beside the labels.
        save_every: steps between two states to go on from.
        shards: a directory for the rows of training, made once and mapped into memory; large data get one.
        held_out: of so many rows in shards one is evaluated on in place of learned from, where there is no dev file.
        shard: over several processes, each holds a part of the weights (FSDP2); else each holds all (DDP).
        command: what messages call the training.
    """

    task: str
    data: Path | Sequence[str | Path]
    model: str
    output: Path
    backend: str = "torch"
    dev: Path | None = None
    tokenizer: str | None = None
    recipe: Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    read: ReadOptions = field(default_factory=ReadOptions)
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    precision: str = "float32"
    quantize: str | None = None
    device: str | None = None
    compile: bool = False
    tune_thresholds: bool = False
    teaching: Teaching | None = None
    save_every: int = SAVE_EVERY
    resume: bool = False
    progress: bool | None = None
    shard: bool = False
    shards: Path | None = None
    held_out: int = 0
    command: str = "train"

    def run(self) -> dict[str, Any]:
        """Trains, and returns what training.json then holds: settings, rows, notes and scores.

        Everything is read and checked before the first file is written, except shards of rows. Started by a
        launcher, every process calls this; together they take the steps that one would take, and the first writes.

        Raises:
            DataError: for data that cannot be learned from.
            CheckpointError, ConfigError, TokenizerError: for a model, tokenizer or option that does not fit.
            ConfigError: also for several processes that were not started to work together, or train with Keras, and
                for `shard` without a launcher.
            TrainingError: when the loss is no longer finite, or another process has ended.
        """
        return train_together(self._run, self.command, self.backend, self.device, self.shard)

    def _run(self, ranks: Ranks) -> dict[str, Any]:
        kind = training_task_named(self.task)
        if self.teaching is not None:
            self.teaching.check(kind)
            check_alone(ranks, self.shards)
        backend = backend_named(self.backend, self.command, FRAMEWORKS)
        check_config_fields(self.command, self.model, self.fields)
        places = (self.data, self.dev, self.shards, self.output, self.held_out)
        data = TrainingData.find(kind, self.read, *places, in_memory=self.teaching is not None)
        examples = data.examples()
        choice = RecipeChoice.of(kind, self.model, has_no_weights(self.model), self.recipe, self.changes)
        if self.resume:
            choice.take_up(self.output)
        directory = run_directory(ranks, self.output, self._settings(choice, data), self.resume)
        if not directory.finished:
            with closing(directory):
                self._train(kind, backend, choice, data, examples, directory, ranks)
        return ranks.first(directory.results)

    # ------------------------------------------------------------------------------------------ parts

    def _train(
        self,
        kind: type[TrainingTask],
        backend: Backend,
        choice: RecipeChoice,
        data: TrainingData,
        examples: Mapping[str, Examples],
        run_directory: RunDirectory,
        ranks: Ranks,
    ) -> None:
        fields = kind.config_fields(examples["train"], self.read) | dict(self.fields)
        self._check_thresholds(fields, {*examples, *(["dev"] if data.shards and data.held_out else [])})
        tokenizer, said = tokenizer_at(self._tokenizer_place())
        recipe, words, saved = choice.recipe, len(tokenizer), run_directory.saved
        trainer = self._trainer(kind, backend, recipe, fields, words, saved, ranks)
        limit_to_model(tokenizer, trainer.config)
        task = kind(tokenizer, trainer.config, self.max_length, seed=recipe.seed, **self.options)
        features = data.features(task, examples, run_directory.settings, ranks)
        self._check_thresholds(fields, {*features})  # rows may be too few to hold some out
        check_segments(trainer.config, features)
        _say([*choice.warnings, *said], ranks)
        lesson = self._lesson(task, examples, features, backend)
        trainer.objective = lesson.objective or trainer.objective
        if choice.sweep == {} and saved is None:

            def start() -> TrainerBase:
                with said_before():
                    begun = self._trainer(kind, backend, recipe, fields, words, None, ranks)
                begun.objective = lesson.objective or begun.objective
                return begun

            choice.choose(swept_losses(start, lesson.rows, lesson.batch, recipe, ranks))
            run_directory.settings |= choice.settings()
            recipe, trainer = choice.recipe, start()
        evaluations, missing = self._evaluations(trainer, task, examples, features, recipe)
        best = self._loop(trainer, task, recipe, lesson, run_directory, tokenizer, evaluations).run()
        said += [*choice.said(), *lesson.notes, *missing]
        notes = [*said, *self._looked_back(evaluations.get("dev"), best, ranks)]
        results = rows_said(examples, features, notes) | {
            "newly_initialized": list(trainer.newly_initialized),
            "best_metric": task.best_metric,
            "dev": best,
        }
        if "test" in evaluations:
            trainer.assign(self._best_weights())
            results["test"] = evaluations["test"].plain()
        if ranks.rank == 0:
            draw_curves(self.output)
            write_card(self, kind, recipe, trainer.config, results)
        run_directory.end(**results)

    def _lesson(
        self,
        task: TrainingTask,
        examples: Mapping[str, Examples],
        features: Mapping[str, Features],
        backend: Backend,
    ) -> Lesson:
        """What is learned from: the train rows and their labels, or those with the teacher's."""
        if self.teaching is None or not isinstance(task, LabelledTask):
            return Lesson(features["train"].rows, task.batch)
        return self.teaching.lesson(task, examples, features, backend, self.device, self.read, self.options)

    def _evaluations(
        self,
        trainer: TrainerBase,
        task: TrainingTask,
        examples: Mapping[str, Examples],
        features: Mapping[str, Features],
        recipe: Recipe,
    ) -> tuple[dict[str, Evaluation], list[str]]:
        """Those of dev and test rows, and what is said of optional packages that are missing.

        Raises:
            BackendMissingError: when thresholds are to be tuned by scores that cannot be computed.
        """
        missing: list[str] = []
        names = [name for name in features if name != "train"]
        try:
            if names:
                task.check_libraries()
        except BackendMissingError as e:
            if self.tune_thresholds:
                raise
            missing.append(f"{e} This training goes on without scores and keeps its last model.")
            names = []
        _say(missing, trainer.ranks)
        each = {}
        for n in names:
            found = examples.get(n, examples["train"])  # rows that were held out are of the same file
            each[n] = Evaluation(trainer, task, found, features[n], recipe.seed, self.tune_thresholds)
        return each, missing

    def _looked_back(self, dev: Evaluation | None, best: Mapping[str, float], ranks: Ranks) -> list[str]:
        """What there is to say when the training has ended: of the curve of the loss, the best scores, the picture."""
        losses = [float(row["loss"]) for row in ranks.first(lambda: read_curves(self.output / CURVES_FILE))]
        return [*curve_notes(losses), *(dev.notes(best) if dev is not None else []), *picture_missing()]

    def _loop(
        self,
        trainer: TrainerBase,
        task: TrainingTask,
        recipe: Recipe,
        lesson: Lesson,
        run_directory: RunDirectory,
        tokenizer: Any,
        evaluations: Mapping[str, Evaluation],
    ) -> TrainingLoop:
        dev = evaluations.get("dev")
        return TrainingLoop(
            trainer,
            lesson.rows,
            lesson.batch,
            recipe,
            run_directory,
            lambda: self._keep(run_directory, trainer, tokenizer, dev),
            evaluate=dev,
            best_metric=task.best_metric,
            lower_is_better=task.lower_is_better,
            save_every=self.save_every,
            progress=self.progress if trainer.ranks.rank == 0 else False,
            ranks=trainer.ranks,
        )

    def _best_weights(self) -> dict[str, Any]:
        try:
            return load_file(self.output / WEIGHTS_FILE)
        except (OSError, SafetensorError) as e:  # of a training that was resumed
            raise CheckpointError(f"{self.output}: the best model, kept before, cannot be read ({e}).") from None

    def _check_thresholds(self, fields: Mapping[str, Any], splits: Set[str]) -> None:
        if self.tune_thresholds and fields.get("problem_type") != MULTI_LABEL:
            raise ConfigError(
                f"{self.task}: thresholds are for several labels a text, these data have one. Leave them out."
            )
        if self.tune_thresholds and "dev" not in splits:
            raise ConfigError(f"{self.task}: thresholds are tuned on dev rows, there are none. Give a file with dev=.")

    def _keep(self, run_directory: RunDirectory, trainer: TrainerBase, tokenizer: Any, dev: Evaluation | None) -> None:
        """Writes the model as it is now, with its tuned thresholds, as one that answers."""
        replace = {}
        if dev is not None and dev.thresholds is not None:
            replace[_CLASSIFIER_BIAS] = trainer.array(_CLASSIFIER_BIAS) - dev.thresholds
        sparse = bool(self.fields.get("sparse_prediction", False))
        config = trainer.config.copy(sparse_prediction=sparse)
        run_directory.keep(trainer, tokenizer, replace=replace, config=config)

    def _tokenizer_place(self) -> str | Path:
        if self.tokenizer is not None:
            return self.tokenizer
        place = Path(self.model)
        if has_no_weights(self.model):
            beside = [place.parent / name for name in VOCABULARY_FILES] if place.is_file() else []
            return place.parent if any(path.exists() for path in beside) else DEMO_MODEL
        return self.model

    def _trainer(
        self,
        kind: type[TrainingTask],
        backend: Backend,
        recipe: Recipe,
        fields: dict[str, Any],
        words: int,
        saved: Path | None,
        ranks: Ranks,
    ) -> TrainerBase:
        trainer_class = backend.trainer(self.command)
        common = {
            "precision": self.precision,
            "device": self.device,
            "compile": self.compile,
            "quantize": self.quantize,
            "ranks": ranks,
        }
        if kind.classifies:
            fields.setdefault("classifier_dropout", recipe.classifier_dropout)
        if saved is not None:
            trainer = trainer_class.start(kind.head, saved, recipe, **common)
            if trainer.newly_initialized:
                raise CheckpointError(f"{saved}: the saved state lacks {trainer.newly_initialized[0]}. Train anew.")
            return trainer
        fields = {**kind.config_defaults, **fields}
        if has_no_weights(self.model):
            config = config_of(self.model, **{"vocab_size": words, **fields})
            self._check_words(words, config)
            return trainer_class.start(kind.head, None, recipe, config=config, **common)
        trainer = trainer_class.start(kind.head, self.model, recipe, **common, **fields)
        encoder = [w.name for w in weight_table(trainer.config, HEADS[kind.head]) if w.group is None]
        if changed := sorted({*encoder} & {*trainer.newly_initialized}):
            raise ConfigError(
                f"{self.model}: {len(changed)} of the encoder's weights have another shape under the fields passed, "
                f"the first {changed[0]}. Leave the sizes as they are; for random weights pass the config.json."
            )
        self._check_words(words, trainer.config)
        return trainer

    def _check_words(self, words: int, config: MobileBertConfig) -> None:
        if words > config.vocab_size:
            raise ConfigError(
                f"{self.model}: the model has {config.vocab_size} words, the tokenizer {words}. Take the tokenizer of "
                "the model."
            )

    def _settings(self, choice: RecipeChoice, data: TrainingData) -> dict[str, Any]:
        """All that decides the numbers, in plain values."""
        digests = {"model": start_digests(self.model), "tokenizer": tokenizer_digests(self._tokenizer_place())}
        return {
            "task": training_task_named(self.task).name,
            "model": name_of(self.model),
            "tokenizer": None if self.tokenizer is None else name_of(self.tokenizer),
            DIGESTS: digests if self.teaching is None else {**digests, "teacher": self.teaching.digests()},
            "backend": self.backend,
            "precision": self.precision,
            **({} if self.quantize is None else {"quantize": self.quantize}),
            **data.settings(),
            "read": dataclasses.asdict(self.read),
            **choice.settings(),
            "fields": dict(self.fields),
            "options": dict(self.options),
            "max_length": self.max_length,
            "tune_thresholds": self.tune_thresholds,
            **({} if self.teaching is None else {"teacher": self.teaching.settings()}),
        }


def _say(messages: Sequence[str], ranks: Ranks) -> None:
    for message in messages if ranks.rank == 0 else ():
        say(message)

"""One training from a data file to a model that answers: the parts of core and one backend put together."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.datasets.reading import read_examples, splits
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import BackendMissingError, ConfigError, InputError
from mobilebert_core.files import TOKENIZER_FILES, WEIGHTS_FILE
from mobilebert_core.heads import HEADS
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.padding_truncation import NO_LIMIT
from mobilebert_core.training.loop import EVALUATION, TrainingLoop
from mobilebert_core.training.recipe import RECIPES, WITH_CLASSIFIER, Recipe
from mobilebert_core.training.run_directory import RunDirectory
from mobilebert_core.training.tasks.masked_language import FillMaskTraining, PretrainingTraining, read_texts
from mobilebert_core.training.tasks.metrics import tuned_thresholds
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from mobilebert_core.weights import weight_table

from .pipelines import RUNNERS
from .training_report import draw_curves, write_card

TASKS: dict[str, Any] = {**TRAINING_TASKS, FillMaskTraining.name: FillMaskTraining,
                         PretrainingTraining.name: PretrainingTraining}  # fmt: skip
TRAINERS = {"torch": "mobilebert_torch.trainer", "keras": "mobilebert_tf.trainer"}
EVALUATION_BATCH = 64  # rows; nothing is kept for gradients, so more fit than in training
_CLASSIFIER_BIAS = "classifier.bias"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What to train, on what, and how. Paths are kept as passed.

    Attributes:
        task: a key of `TASKS`.
        data: a file, or a directory with train.*, and dev.* or test.* if there are.
        model: a checkpoint, or a preset's name or the path of a configuration for random weights.
        output: a new directory for the model, its curves and its card.
        dev: a file to evaluate on, in place of the directory's.
        tokenizer: where it is, if not with the model; presets get the vocabulary of the package.
        fields: of the configuration, in place of the model's.
        options: of the task, such as `doc_stride`.
        tune_thresholds: for several labels: find on the dev rows the threshold of each label whose F1 is best, and
            move the classifier's bias so that it lies at 0, a probability of 0.5.
        save_every: steps between two states to go on from.
    """

    task: str
    data: Path
    model: str
    output: Path
    backend: str = "torch"
    dev: Path | None = None
    tokenizer: str | None = None
    recipe: Recipe | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    precision: str = "float32"
    device: str | None = None
    compile: bool = False
    tune_thresholds: bool = False
    save_every: int = 500
    resume: bool = False
    progress: bool | None = None

    def run(self) -> dict[str, Any]:
        """Trains, and returns what training.json then holds: settings, rows, notes and scores.

        Everything is read and checked before the first file is written.

        Raises:
            DataError: for data that cannot be learned from.
            CheckpointError, ConfigError, TokenizerError: for a model, tokenizer or option that does not fit.
            TrainingError: when the loss is no longer finite.
        """
        kind = self._task_class()
        recipe = self.recipe or RECIPES[self.task]
        places = self._places()
        examples = {name: self._examples(path) for name, path in places.items()}
        run_directory = RunDirectory(self.output, self._settings(recipe, places), self.resume)
        if run_directory.finished:
            return run_directory.results()
        fields = kind.config_fields(examples["train"], self.read) | dict(self.fields)
        self._check_thresholds(fields, examples)
        tokenizer = self._tokenizer()
        trainer = self._trainer(recipe, fields, len(tokenizer), run_directory.saved, kind.head)
        if tokenizer.model_max_length >= NO_LIMIT:
            tokenizer.model_max_length = trainer.config.max_position_embeddings
        masked = issubclass(kind, FillMaskTraining)
        task = kind(
            tokenizer, trainer.config, self.max_length, **self.options, **({"seed": recipe.seed} if masked else {})
        )
        features = {name: task.features(found) for name, found in examples.items()}
        _check_segments(trainer.config, features)
        evaluations = {
            name: Evaluation(trainer, task, examples[name], features[name], recipe.seed, self.tune_thresholds)
            for name in examples
            if name != "train"
        }
        dev = evaluations.get("dev")
        best = TrainingLoop(
            trainer,
            features["train"].rows,
            (lambda some, rng: task.batch(some, rng)) if masked else (lambda some, rng: task.batch(some)),
            recipe,
            run_directory,
            lambda: self._keep(trainer, tokenizer, dev),
            evaluate=dev,
            best_metric=task.best_metric,
            lower_is_better=getattr(task, "lower_is_better", False),
            save_every=self.save_every,
            progress=self.progress,
        ).run()
        results = _results(examples, features) | {
            "newly_initialized": list(trainer.newly_initialized),
            "best_metric": task.best_metric,
        }
        results["dev"] = best
        if "test" in evaluations:
            trainer.assign(load_file(self.output / WEIGHTS_FILE))
            results["test"] = evaluations["test"].plain()
        draw_curves(self.output)
        write_card(self, recipe, trainer.config, results)
        run_directory.end(**results)
        return run_directory.results()

    # ------------------------------------------------------------------------------------------ parts

    def _task_class(self) -> Any:
        if self.task not in TASKS:
            raise InputError(f"train: no task {self.task!r}; there are {', '.join(TASKS)}.")
        if self.backend not in TRAINERS:
            raise InputError(f"train: backend must be one of {', '.join(TRAINERS)}, got {self.backend!r}.")
        return TASKS[self.task]

    def _check_thresholds(self, fields: Mapping[str, Any], examples: Mapping[str, Any]) -> None:
        if self.tune_thresholds and fields.get("problem_type") != "multi_label_classification":
            raise ConfigError(f"{self.task}: thresholds are for several labels a text, these data have one. Leave it.")
        if self.tune_thresholds and "dev" not in examples:
            raise ConfigError(f"{self.task}: thresholds are tuned on dev rows, there are none. Give a file with dev=.")

    def _keep(self, trainer: Any, tokenizer: Any, dev: Evaluation | None) -> None:
        """Writes the model as it is now, with its tuned thresholds, as one that answers."""
        shifts = {} if dev is None or dev.thresholds is None else {_CLASSIFIER_BIAS: dev.thresholds}
        before = {name: trainer.array(name) for name in shifts}
        sparse = trainer.config.sparse_prediction
        trainer.assign({name: before[name] - shift for name, shift in shifts.items()})
        trainer.config.sparse_prediction = bool(self.fields.get("sparse_prediction", False))
        trainer.save(self.output)
        trainer.config.sparse_prediction = sparse
        trainer.assign(before)
        tokenizer.save_pretrained(self.output)

    def _places(self) -> dict[str, Path]:
        places = splits(self.data)
        return places if self.dev is None else {**places, "dev": self.dev}

    def _examples(self, path: Path) -> Any:
        masked = issubclass(TASKS[self.task], FillMaskTraining)
        return read_texts(path, self.read) if masked else read_examples(self.task, path, self.read)

    def _tokenizer(self) -> Any:
        if self.tokenizer is not None:
            return AutoTokenizer.from_pretrained(self.tokenizer)
        place = Path(self.model)
        if self.model in PRESETS or (place.is_file() and place.suffix == ".json"):
            beside = [place.parent / name for name in TOKENIZER_FILES[:2]] if place.is_file() else []
            if any(path.exists() for path in beside):
                return AutoTokenizer.from_pretrained(place.parent)
            return AutoTokenizer.from_pretrained(DEMO_MODEL)
        return AutoTokenizer.from_pretrained(self.model)

    def _trainer(self, recipe: Recipe, fields: dict[str, Any], words: int, saved: Path | None, head: str) -> Any:
        module, extra = TRAINERS[self.backend], RUNNERS[self.backend][1]
        try:
            trainer_class = import_module(module).Trainer
        except BackendMissingError:
            raise
        except ImportError as e:
            raise BackendMissingError(
                f"train: backend {self.backend!r} is not installed ({e}). Install it: "
                f"pip install 'mobilebert[{extra}]'."
            ) from e
        common = {"precision": self.precision, "device": self.device, "compile": self.compile}
        if self.task in WITH_CLASSIFIER:
            fields.setdefault("classifier_dropout", recipe.classifier_dropout)
        if saved is not None:
            return trainer_class.start(head, saved, recipe, **common)
        if head in ("MaskedLM", "PreTraining"):
            fields.setdefault("sparse_prediction", True)  # a word's scores cost most, and few words are asked for
        if self.model in PRESETS:
            config = MobileBertConfig.from_preset(self.model, **{"vocab_size": words, **fields})
        elif Path(self.model).is_file() and Path(self.model).suffix == ".json":
            config = MobileBertConfig.from_pretrained(self.model, **{"vocab_size": words, **fields})
        else:
            trainer = trainer_class.start(head, self.model, recipe, **common, **fields)
            encoder = [w.name for w in weight_table(trainer.config, HEADS[head]) if w.group is None]
            if changed := sorted({*encoder} & {*trainer.newly_initialized}):
                raise ConfigError(
                    f"{self.model}: {len(changed)} of the encoder's weights have another shape under the fields "
                    f"passed, the first {changed[0]}. Leave the sizes as they are; for random weights pass the "
                    "config.json."
                )
            self._check_words(words, trainer.config)
            return trainer
        self._check_words(words, config)
        return trainer_class.start(head, None, recipe, config=config, **common)

    def _check_words(self, words: int, config: MobileBertConfig) -> None:
        if words > config.vocab_size:
            raise ConfigError(
                f"{self.model}: the model has {config.vocab_size} words, the tokenizer {words}. Take the tokenizer of "
                "the model."
            )

    def _settings(self, recipe: Recipe, places: Mapping[str, Path]) -> dict[str, Any]:
        """All that decides the numbers, in plain values."""
        return {
            "task": self.task,
            "model": self.model,
            "tokenizer": self.tokenizer,
            "backend": self.backend,
            "precision": self.precision,
            "data": {name: {"file": path.name, "sha256": _digest(path)} for name, path in places.items()},
            "read": dataclasses.asdict(self.read),
            "recipe": dataclasses.asdict(recipe),
            "fields": dict(self.fields),
            "options": dict(self.options),
            "max_length": self.max_length,
            "tune_thresholds": self.tune_thresholds,
        }


class Evaluation:
    """Scores of the trainer's model on the rows of one file; called, it first tunes thresholds if it is to.

    Attributes:
        thresholds: those of the last call, (C,) logits, or None.
    """

    def __init__(self, trainer: Any, task: Any, examples: Any, features: Any, seed: int, tune: bool) -> None:
        self.trainer, self.task, self.examples, self.features = trainer, task, examples, features
        self.seed, self.tune = seed, tune
        self.thresholds: np.ndarray | None = None

    def __call__(self) -> dict[str, float]:
        outputs = self._outputs()
        if self.tune:
            logits = np.stack([output["logits"] for output in outputs])
            gold = self.task.batch(self.features.rows)["labels"] >= 0.5  # as `scores` counts probabilities of labels
            self.thresholds = tuned_thresholds(logits, gold)
            outputs = [{"logits": row - self.thresholds} for row in logits]
        return self.task.scores(self.examples, self.features, outputs)

    def plain(self) -> dict[str, float]:
        """Scores without tuning, of a model whose thresholds are in its bias."""
        return self.task.scores(self.examples, self.features, self._outputs())

    def _outputs(self) -> list[Any]:
        rows: Sequence[Any] = self.features.rows
        order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
        found: list[Any] = [None] * len(rows)
        for start in range(0, len(order), EVALUATION_BATCH):
            some = order[start : start + EVALUATION_BATCH]
            chosen = [rows[i] for i in some]
            if isinstance(self.task, FillMaskTraining):
                batch = self.task.batch(chosen, np.random.default_rng([self.seed, EVALUATION, start]))
                parts = self.task.row_metrics(batch, self.trainer.run(batch))
            else:
                outputs = self.trainer.run(self.task.batch(chosen, training=False))
                parts = [{name: array[i] for name, array in outputs.items()} for i in range(len(chosen))]
            for place, part in zip(some, parts, strict=True):
                found[place] = part
        return found


def _check_segments(config: MobileBertConfig, features: Mapping[str, Any]) -> None:
    """Raises ConfigError for rows with a second text and a model that knows only first ones."""
    if config.type_vocab_size < 2:
        for found in features.values():
            for row in found.rows:
                types = row.token_type_ids
                if any(1 in choice for choice in types) if isinstance(types[0], list) else 1 in types:
                    raise ConfigError(
                        f"train: the rows hold pairs of texts, wanted a model with type_vocab_size of at least 2, got "
                        f"{config.type_vocab_size}. Choose another model, or leave the second text out."
                    )


def _results(examples: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to say about the rows of each file."""
    skipped = [message for n in examples for message in (*examples[n].skipped, *features[n].skipped)]
    return {
        "rows": {name: len(found.rows) for name, found in features.items()},
        "notes": [f"{name}: {note}" for name, found in features.items() for note in found.notes],
        "skipped": list(dict.fromkeys(skipped)),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""How well a model does on a file of examples: of a framework or an exported file, by the scores of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conversion.backends import backend_for
from conversion.exports.record import check_tokenizer_of, is_exported
from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.opening import as_one, open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.files import sha256
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.model_fit import check_words, limit_to_model
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.training.evaluation import EVALUATION_BATCH, TaskFile
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.tasks.table import training_task_named
from mobilebert_core.training.tasks.training_task import TrainingTask

from .runners import open_runner
from .training_data import check_segments


@dataclass(frozen=True)
class Evaluated:
    """The scores of one model on one file.

    Attributes:
        backend: what ran the model.
        rows: of model input; a long text may be several.
        scores: by name, as `mobilebert train` prints them.
        notes: what was done to texts, for people.
        skipped: a message for each example that was left out.
    """

    task: str
    model: str
    backend: str
    data: dict[str, str]
    rows: int
    scores: dict[str, float]
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def evaluate(
    task: str,
    data: str | Path,
    model: str | Path,
    *,
    backend: str | None = None,
    tokenizer: str | Path | None = None,
    read: ReadOptions = ReadOptions(),  # noqa: B008
    options: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    seed: int = Recipe.seed,
    batch_size: int = EVALUATION_BATCH,
    dtype: str = "float32",
    device: str | None = None,
    threads: int | None = None,
) -> Evaluated:
    """Scores a model on a file of examples, as training scores it on its dev rows.

    Args:
        task: a key of `TRAINING_TASKS`, or an alias.
        data: a file that `mobilebert train` reads.
        model: a checkpoint, an exported directory, or a name on the Hugging Face hub.
        backend: a key of `BACKENDS`; None is PyTorch, or what an exported directory runs in.
        tokenizer: where it is, if not with the model.
        read: how the file is read.
        options: of the task, such as `doc_stride`.
        max_length: tokens of a row; None is all the model has.
        seed: in tasks that hide words decides, with the size of a batch, which.
        threads: of the runtime of an exported directory; None leaves it to the runtime.

    Raises:
        DataError: for a file that cannot be read, or has labels that the model does not have.
        CheckpointError, ConfigError, TokenizerError: for files of a model that do not serve.
        InputError: for an unknown task, backend or option.
        BackendMissingError: when the framework, the runtime or the library with a metric is not installed.
    """
    kind = training_task_named(task)
    caller = f"evaluate {kind.name}"
    seed, path = Recipe(seed=seed).seed, Path(data)
    kind.reader.check(kind.name, path, read)  # before a model is loaded
    chosen = backend_for(model, backend, caller)
    fields = dict(kind.config_defaults) if chosen.models else {}  # a file computes what it was exported with

    def opened() -> tuple[TokenizerBase, Runner]:
        if tokenizer is None:
            check_tokenizer_of(model)
        words = AutoTokenizer.from_pretrained(model if tokenizer is None else tokenizer)
        _check_libraries(kind, words, model)
        runner = open_runner(caller, chosen, kind.head, model, dtype=dtype, device=device, threads=threads, **fields)
        return words, runner

    words, runner = as_one(model, opened)
    check_words(caller, words, runner.config)
    limit_to_model(words, runner.config)
    file = TaskFile(kind(words, runner.config, max_length, seed=seed, **(options or {})), path, read, seed)
    check_segments(runner.config, {"data": file.features})
    return Evaluated(
        kind.name,
        name_of(str(model)),
        chosen.name,
        {"file": path.name, "sha256": sha256(path)},
        len(file.features.rows),
        file.scores(runner, batch_size),
        list(file.features.notes),
        list(dict.fromkeys([*file.examples.skipped, *file.features.skipped])),
    )


def _check_libraries(kind: type[TrainingTask], words: TokenizerBase, model: str | Path) -> None:
    """Raises BackendMissingError for a library with a metric that is not installed, before the model is loaded."""
    if is_exported(model):
        config = MobileBertConfig.from_pretrained(Path(model))
    else:
        config = open_checkpoint(resolve(model, config=True, weights=True)).config()
    kind(words, config).check_libraries()

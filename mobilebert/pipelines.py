"""Texts in, answers out, on either framework: the function `pipeline` and the class `MobileBertPipeline`.

The backend is loaded by its name, so that this package imports no framework and needs none to be installed.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
from tqdm import tqdm

from conversion.backends import FRAMEWORKS, backend_for
from mobilebert_core.checkpoints.opening import as_one
from mobilebert_core.demo_model import DEMO_MODEL, DEMO_TASK
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.hub.resolve import take_hub_keywords
from mobilebert_core.tasks.batching import by_length, padded
from mobilebert_core.tasks.runner import Runner
from mobilebert_core.tasks.table import TextTask, task_named
from mobilebert_core.tasks.task_text import Row, TaskText, fields_of
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.batch_rows import listed
from mobilebert_core.text.model_fit import check_words
from mobilebert_core.text.tokenization_base import TokenizerBase

from .cut_inputs import CutInputs
from .pipeline_keywords import (
    FRAMEWORK_NAMES,
    framework_of,
    inputs_of,
    model_fields,
    of_transformers,
    task_options,
    tokenizer_place,
)
from .pipeline_options import PipelineOptions
from .pipeline_saving import save
from .runners import open_runner

logger = logging.getLogger(__name__)

BATCH_SIZE = 16  # rows
BATCHES_AT_ONCE = 16  # inputs worth so many batches are sorted by length together; no more are held
_ONE_INPUT = str | bytes | bytearray | memoryview | tuple | Mapping  # bytes are refused as one text


@dataclass(frozen=True)
class Prepared:
    """One input with what it takes to be answered."""

    values: dict[str, Any]
    rows: list[Row]
    text: TaskText


class MobileBertPipeline:
    """Answers inputs of one task; `from_pretrained` makes one from a checkpoint.

    Attributes:
        task: its row in the table of tasks.
        text: the text side, with the options of the task.
        runner: the model on its backend.
        batch_size: rows that the model reads at once.
        progress: True draws a progress bar on stderr, False none; None where stderr is a terminal and the input
            takes more than one batch.
    """

    def __init__(
        self,
        task: str | TextTask,
        tokenizer: TokenizerBase,
        runner: Runner,
        *,
        batch_size: int | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> None:
        self.task = task_named(task) if isinstance(task, str) else task
        check_words(self.task.name, tokenizer, runner.config)
        text = self.task.text(self.task.name, self.task.takes, tokenizer, runner.config)
        self.text = text.with_options(task_options(self.task, options))
        self.runner = runner
        self.batch_size = self._checked_size(batch_size) or BATCH_SIZE
        self.progress = progress

    @classmethod
    def from_pretrained(
        cls,
        task: str,
        path: str | Path,
        *,
        backend: str | None = None,
        batch_size: int | None = None,
        tokenizer: TokenizerBase | str | Path | None = None,
        padding_invariant: bool | None = None,
        dtype: Any = None,
        device: str | int | None = None,
        threads: int | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Self:
        """A pipeline from a directory of config.json, weights and tokenizer files, or a name on the Hugging Face hub.

        Args:
            task: a name of the table of tasks, such as "question-answering".
            backend: "torch" or "keras", whose answers are the same; None is PyTorch, or what an exported directory
                (`mobilebert export`) runs in.
            tokenizer: used in place of the directory's: one of mobilebert_core, or the place of its files.
            padding_invariant: overrides the configuration's: True makes an answer independent of what else is in
                its batch.
            dtype: of the model, such as "float32" (default) or "float64".
            device: where PyTorch computes (default: the GPU if there is one); Keras places its models itself. A
                number is that of a GPU, -1 the CPU.
            threads: of the runtime of an exported directory, for one batch; None leaves it to the runtime.
            options: of the task, such as `top_k`; each call may change them. `revision`, `cache_dir` and the others
                of `mobilebert_core.hub.resolve` say where the files are; `mobilebert.pipeline_keywords` are those
                of transformers.

        Raises:
            BackendMissingError: when the framework is not installed.
            InputError: for an unknown task, backend or option.
            TokenizerError, CheckpointError, ConfigError: for files that do not serve.
        """
        row = task_named(task)
        fields = model_fields(row.name, options)
        own = of_transformers(row.name, options, {"dtype": dtype, "device": device, "backend": backend})
        chosen = backend_for(path, own["backend"], "MobileBertPipeline")
        chosen.runner(row.name)  # says that it is not installed before anything is read
        if "config" in fields and not chosen.models:
            raise InputError(f"{row.name}: an exported file has its configuration. Leave config out.")
        if padding_invariant is not None:
            fields["padding_invariant"] = padding_invariant
        hub = take_hub_keywords(options)

        def opened() -> tuple[TokenizerBase, Runner]:
            words = tokenizer
            if not isinstance(words, TokenizerBase):
                words = AutoTokenizer.from_pretrained(tokenizer_place(row.name, words, path), **hub)
            return words, open_runner(
                row.name, chosen, row.head, path, dtype=own["dtype"], device=own["device"], threads=threads, **hub,
                **{**fields, **dict(row.model_options)},
            )  # fmt: skip

        words, runner = as_one(path, opened)
        return cls(row, words, runner, batch_size=batch_size, progress=progress, **options)

    @classmethod
    def of_model(
        cls,
        task: str,
        model: Any,
        *,
        tokenizer: TokenizerBase | str | Path | None = None,
        device: str | int | None = None,
        batch_size: int | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Self:
        """A pipeline around a loaded model of either framework, which goes into evaluation mode.

        Args:
            tokenizer: default that of the place from which the model was loaded.
            device: where PyTorch computes; default where the model is.

        Raises:
            InputError: for a model of another task or library, and an option that is for loading one.
        """
        row = task_named(task)
        own = of_transformers(row.name, options, {"dtype": None, "device": device, "backend": None})
        framework = framework_of(row, model, own, model_fields(row.name, options, ("padding_invariant", "threads")))
        if not isinstance(tokenizer, TokenizerBase):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_place(row.name, tokenizer, model.name_or_path))
        where = own["device"] or (str(model.device) if framework == "torch" else None)
        runner = FRAMEWORKS[framework].runner(row.name)(model, where)
        return cls(row, tokenizer, runner, batch_size=batch_size, progress=progress, **options)

    def __call__(self, inputs: Any = None, /, *more: Any, batch_size: int | None = None, **values: Any) -> Any:
        """The answer to one input, a list of answers to a list, or a generator of answers to any other iterable.

        An input is a string, a tuple of texts in the order of the task's fields, or a mapping with their names. A
        column of datasets, a Series or an array of strings is a list; what has a length and items by number, such as
        a dataset of PyTorch, is an iterable. Fields that are all lists are a list of inputs:
        `pipeline(question=[...], context=[...])`.

        Args:
            more: the other fields of the task in their order, which all inputs share.
            batch_size: rows that the model reads at once in this call.
            values: options of the task, also by their names in transformers, or fields that all inputs share:
                `pipeline(question=..., context=...)`.

        Answers come in the order of the inputs; of an iterable no more than `BATCHES_AT_ONCE` batches are held.
        """
        size = self._checked_size(batch_size)
        inputs, values = inputs_of(self.task, inputs, more, values)
        names = {field.name for field in self.task.takes}
        options = {name: value for name, value in values.items() if name not in names}
        shared = {name: value for name, value in values.items() if name in names}
        text = self.text.with_options(task_options(self.task, options))
        if inputs is None:
            inputs = shared
        if not isinstance(inputs, _ONE_INPUT):
            inputs = listed(inputs)
        if isinstance(inputs, _ONE_INPUT):
            return next(self._returned([self._prepare(text, inputs, shared)], text, size, isinstance(inputs, str)))
        items = self._items(inputs)
        total = len(inputs) if isinstance(inputs, Sized) else None
        prepared = (self._prepare(text, item, shared) for item in items)
        answers = self._shown(self._returned(prepared, text, size), total)
        return list(answers) if isinstance(inputs, list) else answers

    def _items(self, inputs: Any) -> Iterable[Any]:
        """What there is to answer one after the other; raises InputError for what is no such thing."""
        if hasattr(inputs, "columns"):  # of a table, iteration gives the names of its columns
            raise InputError(
                f"{self.task.name}: wanted texts, got a table ({type(inputs).__name__}). Pass one of its columns, or "
                "its rows as mappings."
            )
        if isinstance(inputs, Iterable):
            return inputs
        if isinstance(inputs, Sized) and hasattr(inputs, "__getitem__"):
            return (inputs[number] for number in range(len(inputs)))
        raise InputError(
            f"{self.task.name}: wanted a text, a mapping, a list or another iterable of them, got "
            f"{type(inputs).__name__}."
        )

    def _returned(
        self, prepared: Iterable[Prepared], text: TaskText, size: int | None, alone: bool = False
    ) -> Iterator[Any]:
        """Answers as a call gives them."""
        answers = self.answers(self._counted(prepared), batch_size=size)
        return (text.returned(answer, self.framework or "np", alone) for answer in answers)

    def _checked_size(self, size: Any) -> int | None:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InputError(f"{self.task.name}: batch_size must be a whole number of at least 1, got {size!r}.")
        found: int | None = size
        return found

    @property
    def tokenizer(self) -> TokenizerBase:
        """That of the text side."""
        return self.text.tokenizer

    @property
    def model(self) -> Any:
        """The model of a framework; None for an export."""
        return getattr(self.runner, "model", None)

    @property
    def framework(self) -> str | None:
        """What transformers calls the framework of the model, "pt" or "tf"; None for an export."""
        return getattr(self.model, "framework", None)

    @property
    def device(self) -> Any:
        """Where a model of PyTorch computes, else None."""
        return getattr(self.runner, "device", None)

    def save_pretrained(self, directory: str | Path, **options: Any) -> None:
        """Writes model and tokenizer into a directory, from which `from_pretrained` makes this pipeline again.

        They appear together, or not at all.

        Args:
            options: of the model's `save_pretrained`.

        Raises:
            InputError: for an export, which is a directory of files to be copied.
        """
        if self.model is None:
            raise InputError(f"{self.task.name}: an export is not saved again. Copy its directory.")
        save(f"{self.task.name}: save_pretrained", directory, self.model, self.tokenizer, options)

    @property
    def inputs_at_once(self) -> int:
        """How many inputs `answers` holds: their rows are sorted by length together."""
        return self.batch_size * BATCHES_AT_ONCE

    def prepare(self, item: Any, **shared: Any) -> Prepared:
        """One input made ready for `answers`; raises InputError or TokenizerError where it is not one."""
        return self._prepare(self.text, item, shared)

    def answers(
        self, prepared: Iterable[Prepared], at_once: int | None = None, batch_size: int | None = None
    ) -> Iterator[Any]:
        """Answers in the order of the inputs, of which `at_once` (default: some batches' worth) are held."""
        source, size = iter(prepared), batch_size or self.batch_size
        while chunk := list(itertools.islice(source, at_once or size * BATCHES_AT_ONCE)):
            owners = [each for each in chunk for _ in each.rows]
            rows = [row for each in chunk for row in each.rows]
            parts: list[Any] = [None] * len(rows)
            for batch in by_length(rows, size):
                outputs = self._run([rows[index] for index in batch])
                for place, index in enumerate(batch):
                    row_outputs = {name: array[place] for name, array in outputs.items()}
                    parts[index] = owners[index].text.read(rows[index], row_outputs)
            read = iter(parts)
            for each in chunk:
                yield each.text.combine(each.values, each.rows, list(itertools.islice(read, len(each.rows))))

    def _prepare(self, text: TaskText, item: Any, shared: Mapping[str, Any]) -> Prepared:
        values = fields_of(self.task.name, self.task.takes, item, shared)
        return Prepared(values, text.rows(values), text)

    def _counted(self, prepared: Iterable[Prepared]) -> Iterator[Prepared]:
        """The same, of which those that are cut are counted and in the end logged."""
        cuts = CutInputs()
        for each in prepared:
            cuts.add(each.text, each.rows)
            yield each
        for note in cuts.notes():
            logger.warning("%s", note)

    def _run(self, rows: list[Row]) -> dict[str, np.ndarray]:
        pad = self.text.tokenizer.pad_token_id
        outputs = self.runner.run(padded(rows, pad or 0, HEADS[self.task.head].per_choice))
        for name, array in outputs.items():
            if not np.isfinite(array.sum(dtype=np.float64)):
                raise InputError(
                    f"{self.task.name}: wanted finite {name}, got NaN or infinity from a batch {array.shape}. "
                    "In float16 MobileBERT's hidden states overflow: load it with dtype='float32'. Else its weights "
                    "are damaged."
                )
        return outputs

    def _shown(self, answers: Iterator[Any], total: int | None) -> Iterator[Any]:
        small = total is not None and total <= self.batch_size
        hidden = not self.progress if self.progress is not None else (True if small else None)
        with tqdm(answers, total=total, disable=hidden, file=sys.stderr, desc=self.task.name, unit="") as bar:
            yield from bar


def pipeline(
    task: str,
    model: str | Path | Any = None,
    *,
    backend: str | None = None,
    batch_size: int | None = None,
    tokenizer: TokenizerBase | str | Path | None = None,
    padding_invariant: bool | None = None,
    dtype: str | None = None,
    device: str | int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    **options: Unpack[PipelineOptions],
) -> MobileBertPipeline:
    """A pipeline for a task, as `MobileBertPipeline.from_pretrained` makes it.

    Args:
        model: a checkpoint's directory or its name on the Hugging Face hub, or a loaded model. The default for
            text-classification is the demo model; other tasks have none.

    Raises:
        InputError: for a task that has no default model; also as `MobileBertPipeline.from_pretrained`.
    """
    if model is None:
        row = task_named(task)
        if row.name != DEMO_TASK:
            raise InputError(
                f"{row.name}: wanted a model, got none. Pass model=, the directory of a "
                f"{HEADS[row.head].class_name} or its name on the Hugging Face hub. Only {DEMO_TASK} has a default, "
                "the demo model."
            )
        model = DEMO_MODEL
    if not isinstance(model, str | Path):
        framework = None if backend is None else FRAMEWORK_NAMES.get(backend, backend)
        wanted = {
            "framework": framework, "torch_dtype": dtype, "padding_invariant": padding_invariant, "threads": threads
        }  # fmt: skip
        passed = {name: value for name, value in wanted.items() if value is not None}
        return MobileBertPipeline.of_model(
            task, model, tokenizer=tokenizer, device=device, batch_size=batch_size, progress=progress,
            **{**passed, **options},
        )  # fmt: skip
    return MobileBertPipeline.from_pretrained(
        task, model, backend=backend, batch_size=batch_size, tokenizer=tokenizer, padding_invariant=padding_invariant,
        dtype=dtype, device=device, threads=threads, progress=progress, **options,
    )  # fmt: skip

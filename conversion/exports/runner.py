"""What the runners of exported files share: the record, sizes that are fixed, and checks of what comes out.

B batch, C choices, S sequence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from mobilebert_core.checkpoints.opening import as_one
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, InputError, MobileBertError, first_line, is_out_of_memory
from mobilebert_core.exports import STATE
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS

from .record import ExportRecord, place_of

_PER_TOKEN = ("last_hidden_state", "start_logits", "end_logits")  # outputs with an axis of tokens, besides per_token


class ExportedRunner(ABC):
    """An exported file on numpy arrays. Subclasses open it and compute; see `mobilebert_core.tasks.runner`.

    Attributes:
        record: of the directory.
        config: that of the source; of a file with a fixed length, with as many positions, so that texts are cut or
            read in windows of that length.
    """

    def __init__(self, directory: str | Path, *, threads: int | None = None) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads must be a whole number of at least 1, got {threads!r}.")
        as_one(directory, lambda: self._open(Path(directory), threads))

    def _open(self, directory: Path, threads: int | None) -> None:
        """Record, configuration and file of one export."""
        self.record = ExportRecord.read(directory)
        self.record.check_model(directory)
        self.config = MobileBertConfig.from_pretrained(directory)
        if self.record.length is not None:
            self.config = self.config.copy(max_position_embeddings=self.record.length)
        path = place_of(directory, self.record.file)
        if not path.exists():
            raise CheckpointError(f"{directory}: {self.record.file} is missing. Export the model again.")
        self.open(path, threads)

    @classmethod
    def from_pretrained(
        cls,
        head: str,
        path: str | Path,
        *,
        device: Any = None,
        dtype: Any = None,
        threads: int | None = None,
        **options: Any,
    ) -> Self:
        """Opens an exported directory, for a head by its name in the table.

        Args:
            threads: on which one call computes; None leaves it to the runtime.
            options: of a model, such as `padding_invariant`, which an exported file has or has not.

        Raises:
            InputError: for a dtype, a device or an option that the file does not have.
            CheckpointError: for another head, a file that is missing or one that the runtime refuses.
        """
        if str(device or "cpu") != "cpu":
            raise InputError(f"{path}: an exported file runs on the CPU here, got device {device!r}.")
        if dtype is not None and str(dtype).removeprefix("torch.") != "float32":
            raise InputError(f"{path}: an exported file has the precision of its export, got dtype {dtype!r}.")
        runner = cls(path, threads=threads)
        if runner.record.head != head:
            raise CheckpointError(
                f"{path}: wanted an exported {HEADS[head].class_name}, got a {HEADS[runner.record.head].class_name}. "
                "Choose the task that it was exported for."
            )
        for name, value in options.items():
            if name in runner.config.__dataclass_fields__ and getattr(runner.config, name) != value:
                raise InputError(
                    f"{path}: {name} is {getattr(runner.config, name)!r} in the exported file, got {value!r}. "
                    f"Export it again with {name}={value!r}."
                )
        return runner

    @abstractmethod
    def open(self, path: Path, threads: int | None) -> None:
        """Opens the file.

        Raises:
            CheckpointError: when the runtime refuses it.
        """

    @abstractmethod
    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The outputs by their names in the file, of inputs by theirs, of the file's fixed sizes."""

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, of inputs of any size that the model takes; see `Runner.run`.

        Inputs of a file with a fixed batch or length are padded to it and the outputs cut to what was asked.

        Raises:
            InputError: for rows longer than a fixed length, or outputs that are not floats.
        """
        ids = np.asarray(batch["input_ids"])
        mask = batch.get("attention_mask")
        types = batch.get("token_type_ids")
        arrays = (ids, np.ones_like(ids) if mask is None else mask, np.zeros_like(ids) if types is None else types)
        dtype = self.record.input_dtype
        inputs = dict(zip(TEXT_INPUTS, (np.ascontiguousarray(each, dtype=dtype) for each in arrays), strict=True))
        if not ids.size:
            raise InputError(f"run: wanted at least one row and token, got input_ids {ids.shape}.")
        rows, length = ids.shape[0], ids.shape[-1]
        inputs = self.at_length(inputs)
        size = self.record.batch or rows
        parts = [self._computed(inputs, start, size) for start in range(0, rows, size)]
        choices = ids.shape[1] if ids.ndim == 3 else 1
        count = {name: rows * choices if name.startswith(STATE) else rows for name in parts[0]}
        found = {name: np.concatenate([part[name] for part in parts])[: count[name]] for name in parts[0]}
        return {name: self._of_length(name, array, length) for name, array in found.items()}

    def at_length(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Inputs at the file's fixed length, if it has one: padded, or cut where there is nothing but padding.

        Raises:
            InputError: for a longer row.
        """
        fixed, length = self.record.length, inputs["input_ids"].shape[-1]
        if fixed is None or fixed == length:
            return inputs
        if length > fixed:
            if inputs["attention_mask"][..., fixed:].any():
                raise InputError(
                    f"run: the exported file has a fixed length of {fixed} tokens, got rows of {length}. Cut the texts "
                    f"(max_length={fixed}), or export with a greater length or --length dynamic."
                )
            return {name: np.ascontiguousarray(array[..., :fixed]) for name, array in inputs.items()}
        filled = {"input_ids": self.config.pad_token_id or 0}
        edges = [(0, 0)] * (inputs["input_ids"].ndim - 1) + [(0, fixed - length)]
        return {name: np.pad(array, edges, constant_values=filled.get(name, 0)) for name, array in inputs.items()}

    def _of_length(self, name: str, array: np.ndarray, length: int) -> np.ndarray:
        """An output with as many tokens as were asked for: beyond a fixed length they are zeros."""
        fixed = self.record.length
        per_token = name.startswith((*_PER_TOKEN, STATE)) or any(
            t.logits == name and t.per_token for t in self.record.head_row.tasks
        )
        if fixed is None or fixed == length or not per_token:
            return array
        if length < fixed:
            return array[:, :length]
        return np.pad(array, [(0, 0), (0, length - fixed), *[(0, 0)] * (array.ndim - 2)])

    def _computed(self, inputs: dict[str, np.ndarray], start: int, size: int) -> dict[str, np.ndarray]:
        rows = {name: array[start : start + size] for name, array in inputs.items()}
        missing = size - len(rows["input_ids"])
        if missing:
            rows = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in rows.items()}
        try:
            outputs = self.compute({self.record.inputs[name]: array for name, array in rows.items()})
        except Exception as e:  # whatever the runtime raises
            if isinstance(e, MobileBertError) or is_out_of_memory(e):
                raise
            ids = rows["input_ids"]
            raise InputError(
                f"run: {self.record.format} does not compute inputs of {ids.shape} ({ids.dtype}): {first_line(e)}"
            ) from e
        found = {}
        for name in self.record.outputs:
            if name not in outputs or outputs[name].dtype.kind != "f":
                got = f"numbers of type {outputs[name].dtype}" if name in outputs else ", ".join(outputs)
                raise InputError(f"run: wanted the output {name} as floats, got {got}. Export the model again.")
            found[name] = outputs[name].astype(np.float32, copy=False)
        return found

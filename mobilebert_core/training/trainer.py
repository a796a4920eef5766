"""What the trainers of both backends share: how a training starts, what is saved, and what the loop asks of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..checkpoints.formats import OUTPUT_FORMATS
from ..checkpoints.targets import ModelToWrite
from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..quantization.training import RANGE, with_ranges, without_ranges
from .initialization import initial_arrays, newly_initialized_names
from .ranks import ALONE, Ranks
from .recipe import Recipe
from .state import check_precision

# What is minimized: model and batch -> a scalar of the framework, or scalars by name whose sum is minimized. The batch
# holds inputs and labels by name. An objective of `begin_stage` may have `weights`: see there.
Objective = Callable[[Any, Mapping[str, Any]], Any]


class TrainerBase(ABC):
    """A model of one framework under training; the subclasses are `Trainer` of each backend.

    Attributes:
        model: the model that is trained.
        config: its configuration.
        newly_initialized: names of the weights that no checkpoint had.
        objective: model and batch -> the scalar that is minimized, or scalars by name whose sum is. It may be replaced
            before the first step, and by `begin_stage` before any.
        terms: what the objective returned by name at the last step, the mean of its batches.
        quantization: what rounds the model while it trains, or None; its ranges are saved in config.json.
        ranks: the processes that train the model together. Each makes the same calls in the same order.
    """

    model: Any
    config: MobileBertConfig
    newly_initialized: Sequence[str]
    terms: dict[str, float]
    objective: Objective
    quantization: Any  # the backend's FakeQuantization, or None
    ranks: Ranks = ALONE

    @classmethod
    def start(
        cls,
        head: str,
        source: str | Path | None,
        recipe: Recipe,
        *,
        config: MobileBertConfig | None = None,
        precision: str = "float32",
        device: Any = None,
        compile: bool = False,
        objective: Objective | None = None,
        quantize: str | None = None,
        ranks: Ranks = ALONE,
        **fields: Any,
    ) -> Self:
        """A trainer of a checkpoint, or without a source of a new model under `config`.

        Weights that the checkpoint lacks are drawn from the recipe's seed, the same on every backend. `fields`
        override the configuration's.

        Args:
            device: where PyTorch computes; default the GPU, if any. Keras places its models itself: None.
            objective: model and batch -> the scalar that is minimized, or scalars by name whose sum is; default the
                model's own loss.
            quantize: "int8" trains with the rounding of static int8; see `mobilebert_core.quantization.training`.
            ranks: the processes that train the model together, as `join` of the backend's `distributed` returns them.

        Raises:
            CheckpointError, ConfigError: as `from_pretrained`.
            ConfigError: also for neither a source nor a configuration.
        """
        check_precision(precision)
        if source is None:
            if config is None:
                raise ConfigError("Trainer.start: wanted a checkpoint or a config, got neither. Pass config=...")
            model, info = cls.create(head, config, precision), None
        else:
            model, info = cls.load(head, source, precision, **fields)
        names = newly_initialized_names(model.weight_table(), info)
        trainer = cls(  # type: ignore[call-arg]  # the constructors of the backends
            model,
            recipe,
            precision=precision,
            device=device,
            compile=compile,
            objective=objective,
            newly_initialized=names,
            quantize=quantize,
            **({} if ranks.count == 1 else {"ranks": ranks}),
        )
        missing = set(names)
        weights = (weight for weight in model.weight_table() if weight.name in missing)
        trainer.assign(initial_arrays(weights, model.config, recipe.seed))
        return trainer

    def save(
        self,
        directory: Path,
        *,
        replace: Mapping[str, np.ndarray] | None = None,
        config: MobileBertConfig | None = None,
    ) -> None:
        """Writes config.json and model.safetensors, of several ranks the first. The model stays as it is.

        Args:
            replace: arrays to write in place of the weights of these names.
            config: to write in place of the model's; it has the same weights. Ranges of an earlier quantization go:
                they are those of other weights.
        """
        names = {weight.full_name: weight.name for weight in self.model.weight_table()}
        replaced = dict(replace or {})
        find: Callable[[str], np.ndarray] = self.array
        if self.ranks.sharded:  # every rank gives its part of each, in one order
            gathered = {name: self.array(name) for name in dict.fromkeys(names.values())}
            find = gathered.__getitem__
        if self.ranks.rank > 0:
            return

        def array(full_name: str) -> np.ndarray:
            name = names[full_name]
            return replaced[name] if name in replaced else find(name)

        dtype = find(next(iter(names.values()))).dtype.name
        config = config or self.config
        ranges = None if self.quantization is None else self.quantization.ranges()
        config = without_ranges(config) if ranges is None else with_ranges(config, ranges)
        model = ModelToWrite(config, self.model.head, dtype, array)
        OUTPUT_FORMATS["pytorch"].written.write(directory, model, None)

    # ------------------------------------------------------------------------------------------- ranges

    def moving_ranges(self) -> AbstractContextManager[None]:
        """Inside it the ranges of a quantization move with the batches."""
        return nullcontext() if self.quantization is None else self.quantization.moving()

    def range_state(self) -> dict[str, np.ndarray]:
        """The ranges of a quantization, for `state`."""
        ranges = {} if self.quantization is None else self.quantization.ranges()
        return {RANGE + place: array for place, array in ranges.items()}

    def restore_ranges(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the ranges up again from what `state` returned."""
        if self.quantization is not None:
            places = {name.removeprefix(RANGE): array for name, array in state.items() if name.startswith(RANGE)}
            self.quantization.assign(places)

    # ------------------------------------------------------------------------------------- of each backend

    @classmethod
    @abstractmethod
    def create(cls, head: str, config: MobileBertConfig, precision: str) -> Any:
        """A new model, whose weights are assigned afterwards."""

    @classmethod
    @abstractmethod
    def load(cls, head: str, source: str | Path, precision: str, **fields: Any) -> tuple[Any, dict[str, Any]]:
        """A checkpoint's model, and what loading it says of missing and mis-shaped weights."""

    @abstractmethod
    def step(self, batches: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> float:
        """One update from the mean gradient of batches that hold labels; returns the mean loss."""

    @abstractmethod
    def begin_stage(self, objective: Objective, factors: Mapping[str, float], restart: bool = False) -> None:
        """From the next step on minimizes `objective`, and trains each weight at its own factor of the learning rate.

        A weight without a factor, or with 0, stays as it is bit for bit: it has no gradient, no moments and no decay,
        and no part in the norm that is clipped. A weight that stayed so before, and with `restart` every weight, has
        new moments, whose bias is counted from here.

        `objective.weights`, parameters or variables by name, are trained with the model at the whole learning rate, if
        there are any. `state` holds them, `save` does not: they go with the stage.
        """

    @abstractmethod
    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, without dropout; with the loss, when the batch holds labels."""

    @abstractmethod
    def array(self, name: str) -> np.ndarray:
        """A copy of a weight in PyTorch's orientation, by its name in the table."""

    @abstractmethod
    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Gives weights new values."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that a training needs to go on exactly, but the weights: moments by weight, random numbers, steps.

        Of several ranks the first has it; what the others return is not saved.
        """

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned; random numbers only if they were this framework's."""

"""Trains a Keras model on TensorFlow, one step at a time, on batches of numpy arrays.

Twin: mobilebert_torch/trainer.py. What decides the numbers comes from outside: first weights, order, learning rates.
For training inside Keras there is `fit`; this is its step in a graph recorded once, whatever the lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import BackendMissingError, InputError
from mobilebert_core.training.initialization import initial_arrays, newly_initialized_names
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.state import FIRST, GENERATOR, SECOND, STEPS, check_precision

from .fit.optimization import FusedAdamW
from .graphs import RecordedGraphs
from .heads import MODEL_CLASSES
from .variables import seed_generators, variable_array

POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}  # by precision; others are their own policy


class Trainer:
    """A model, its AdamW and its random numbers. Global random numbers and their seeds are left alone.

    Attributes:
        model: the model that is trained.
        newly_initialized: names of the weights that no checkpoint had.

    Raises:
        BackendMissingError: when Keras does not run on TensorFlow.
    """

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        *,
        precision: str = "float32",
        device: Any = None,
        compile: bool = False,
        newly_initialized: Sequence[str] = (),
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise BackendMissingError(
                f"Trainer: wanted Keras on TensorFlow, got {keras.backend.backend()}. Unset KERAS_BACKEND, or train "
                "with compile() and fit()."
            )
        import tensorflow as tf

        if device is not None:
            raise InputError(f"Trainer: device is for PyTorch; Keras places its models itself, got {device!r}.")
        self.model = model
        self.config = model.config
        self.recipe = recipe
        self.newly_initialized = tuple(newly_initialized)
        self.optimizer = FusedAdamW(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            beta_1=recipe.beta_1,
            beta_2=recipe.beta_2,
            epsilon=recipe.epsilon,
            global_clipnorm=recipe.clip_norm,
        )
        variables = model.trainable_variables
        self.optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
        self.optimizer.build(variables)
        self.scaler = None
        if precision == "float16":
            self.scaler = keras.optimizers.LossScaleOptimizer(self.optimizer)
            self.scaler.build(variables)
        self.steps = 0
        self._weights = {w.name: w for w in model.weight_table() if w.tied_to is None}
        self._gradient_graphs = RecordedGraphs(self._gradients, compile or None)
        self._output_graphs = RecordedGraphs(self._outputs, compile or None)
        self._update = tf.function(self._apply, autograph=False, jit_compile=compile or None)
        for place, seed in enumerate(self._seeds()):
            seed.assign(np.array([recipe.seed * 65537 + place, 0]).astype(seed.dtype))

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
        **fields: Any,
    ) -> Self:
        """A trainer of a checkpoint, or without a source of a new model under `config`.

        Weights that the checkpoint lacks are drawn from the recipe's seed, the same on every backend. `fields`
        override the configuration's.

        Raises:
            CheckpointError, ConfigError: as `from_pretrained`.
        """
        check_precision(precision)
        policy = POLICIES.get(precision, precision)
        if source is None:
            assert config is not None
            model = MODEL_CLASSES[head](config, initializer="zeros", dtype=policy)
            info = None
        else:
            model, info = MODEL_CLASSES[head].from_pretrained(
                source, dtype=policy, output_loading_info=True, ignore_mismatched_sizes=True, **fields
            )
        newly_initialized = newly_initialized_names(model.weight_table(), info)
        trainer = cls(
            model, recipe, precision=precision, device=device, compile=compile, newly_initialized=newly_initialized
        )
        trainer.assign(
            initial_arrays(
                (w for w in model.weight_table() if w.name in set(newly_initialized)), model.config, recipe.seed
            )
        )
        return trainer

    def step(self, batches: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> float:
        """One update from the mean gradient of batches that hold labels; returns the mean loss."""
        losses, total = [], None
        for batch in batches:
            loss, gradients = self._gradient_graphs(batch)
            losses.append(float(loss))
            total = gradients if total is None else [a + b for a, b in zip(total, gradients, strict=True)]
        assert total is not None
        self.optimizer.learning_rate.assign(learning_rate)
        self._update([g / len(batches) for g in total] if len(batches) > 1 else total)
        self.steps = int(self.optimizer.iterations.value)  # where float16 overflowed, no step was taken
        return sum(losses) / len(batches)

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, without dropout; with the loss, when the batch holds labels."""
        outputs = self._output_graphs(batch)
        found = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
        return {n: v if v.dtype in (np.float32, np.float64) else v.astype(np.float32) for n, v in found.items()}

    # ------------------------------------------------------------------------------------------- state

    def array(self, name: str) -> np.ndarray:
        """A copy of a weight, by its name in the table."""
        return self._oriented(name, variable_array(self.model.variable_of(self._weights[name]))).copy()

    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Gives weights new values."""
        for name, array in arrays.items():
            self.model.variable_of(self._weights[name]).assign(self._oriented(name, array))

    def state(self) -> dict[str, np.ndarray]:
        """All that a training needs to go on exactly, but the weights: moments by weight, random numbers, steps."""
        found: dict[str, np.ndarray] = {STEPS: np.array([self.steps])}
        for name, first, second in self._moments():
            found[FIRST + name] = self._oriented(name, variable_array(first))
            found[SECOND + name] = self._oriented(name, variable_array(second))
        for place, seed in enumerate(self._seeds()):
            found[f"{GENERATOR}keras.{place}"] = variable_array(seed)
        if self.scaler is not None:
            found[f"{GENERATOR}scale"] = np.array(
                [float(self.scaler.dynamic_scale.value), float(self.scaler.step_counter.value)]
            )
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned; random numbers only if they were this framework's."""
        self.steps = int(state[STEPS][0])
        self.optimizer.iterations.assign(self.steps)
        for name, first, second in self._moments():
            if FIRST + name in state:
                first.assign(self._oriented(name, state[FIRST + name]))
                second.assign(self._oriented(name, state[SECOND + name]))
        for place, seed in enumerate(self._seeds()):
            if f"{GENERATOR}keras.{place}" in state:
                seed.assign(state[f"{GENERATOR}keras.{place}"])
        if self.scaler is not None and f"{GENERATOR}scale" in state:
            scale, counter = state[f"{GENERATOR}scale"]
            self.scaler.dynamic_scale.assign(scale)
            self.scaler.step_counter.assign(int(counter))

    def save(self, directory: Path) -> None:
        """Writes config.json and model.safetensors."""
        self.model.save_pretrained(directory)

    # ------------------------------------------------------------------------------------------ inside

    def _gradients(self, batch: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self.model(batch, training=True, return_dict=True)["loss"]
            scaled = loss if self.scaler is None else self.scaler.scale_loss(loss)
        gradients = tape.gradient(scaled, [v.value for v in self.model.trainable_variables])
        unused = [tf.zeros_like(v.value) if g is None else tf.convert_to_tensor(g) for g, v in
                  zip(gradients, self.model.trainable_variables, strict=True)]  # fmt: skip
        return loss, unused

    def _apply(self, gradients: list[Any]) -> None:
        (self.scaler or self.optimizer).apply(gradients, self.model.trainable_variables)

    def _outputs(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        outputs = self.model(batch, training=False, return_dict=True)
        return {name: value for name, value in outputs.items() if not isinstance(value, tuple)}

    def _seeds(self) -> list[Any]:
        """The states of the model's generators of random numbers, in the order of its layers."""
        states = {id(generator.state) for generator in seed_generators(self.model)}
        return [v for v in self.model.non_trainable_variables if id(v) in states]

    def _moments(self) -> list[tuple[str, Any, Any]]:
        """Adam's two moments by the name of their weight."""
        found = []
        for name, weight in self._weights.items():
            variable = self.model.variable_of(weight)
            if variable.trainable:
                index = self.optimizer._get_variable_index(variable)
                found.append((name, self.optimizer._momentums[index], self.optimizer._velocities[index]))
        return found

    def _oriented(self, name: str, array: np.ndarray) -> np.ndarray:
        """From PyTorch's orientation to Keras's, or back."""
        return array.T if "keras" in self._weights[name].transposed else array

"""Trains a Keras model on TensorFlow, one step at a time, on batches of numpy arrays.

Twin: mobilebert_torch/trainer.py. What decides the numbers comes from outside: first weights, order, learning rates.
For training inside Keras there is `fit`; this is its step in a graph recorded once, whatever the lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import BackendMissingError, InputError
from mobilebert_core.quantization.training import check_quantize
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.state import AGE, EXTRA, FIRST, GENERATOR, SECOND, STEPS
from mobilebert_core.training.trainer import Objective, TrainerBase

from .fake_quantization import FakeQuantization
from .graphs import RecordedGraphs
from .heads import MODEL_CLASSES
from .inference import Runner
from .quantization import refuse_quantized
from .staged import Lamb, StagedAdamW
from .variables import seed_generators, variable_array

POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}  # by precision; others are their own policy


def own_loss(model: Any, batch: Mapping[str, Any]) -> Any:
    """The default objective: the model's own loss, from the labels in the batch."""
    return model(batch, training=True, return_dict=True)["loss"]


class Trainer(TrainerBase):
    """A model, its optimizer and its random numbers. Global random numbers and their seeds are left alone.

    Args:
        objective: model and batch of tensors -> the scalar that is minimized, or scalars by name whose sum is, recorded
            as a graph. It calls the model with `training=True`.

    Raises:
        BackendMissingError: when Keras does not run on TensorFlow.
        ConfigError: for a model with quantized layers, or a `quantize` that does not fit.
    """

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        *,
        precision: str = "float32",
        device: Any = None,
        compile: bool = False,
        objective: Objective | None = None,
        newly_initialized: Sequence[str] = (),
        quantize: str | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise BackendMissingError(
                f"Trainer: wanted Keras on TensorFlow, got {keras.backend.backend()}. Unset KERAS_BACKEND, or train "
                "with compile() and fit()."
            )
        if device is not None:
            raise InputError(f"Trainer: device is for PyTorch; Keras places its models itself, got {device!r}.")
        check_quantize(quantize, precision, model.config)
        refuse_quantized("Trainer", model, "integers do not train")
        self.model = model
        self.config = model.config
        self.recipe = recipe
        self.objective = objective or own_loss
        self.newly_initialized = tuple(newly_initialized)
        self.steps = 0
        self.terms: dict[str, float] = {}
        self._weights = {w.name: w for w in model.weight_table() if w.tied_to is None}
        self.quantization = None if quantize is None else FakeQuantization(model)
        self._extra: dict[str, Any] = {}
        self._factors: dict[str, float] | None = None
        self._begun: dict[str, int] = {}
        self._precision, self._jit = precision, compile or None
        self.scaler: Any = None
        self._record()
        self._runner = Runner(self.model)
        for place, seed in enumerate(self._seeds()):
            seed.assign(np.array([recipe.seed * 65537 + place, 0]).astype(seed.dtype))

    @classmethod
    def create(cls, head: str, config: MobileBertConfig, precision: str) -> Any:
        return MODEL_CLASSES[head](config, initializer="zeros", dtype=POLICIES.get(precision, precision))

    @classmethod
    def load(cls, head: str, source: str | Path, precision: str, **fields: Any) -> tuple[Any, dict[str, Any]]:
        policy = POLICIES.get(precision, precision)
        return MODEL_CLASSES[head].from_pretrained(
            source, dtype=policy, output_loading_info=True, ignore_mismatched_sizes=True, **fields
        )

    def step(self, batches: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> float:
        """One update from the mean gradient of batches that hold labels; returns the mean loss."""
        losses, total = [], None
        terms: dict[str, float] = {}
        for batch in batches:
            loss, parts, gradients = self._gradient_graphs(batch)
            losses.append(float(loss))
            terms |= {name: terms.get(name, 0.0) + float(part) / len(batches) for name, part in parts.items()}
            total = gradients if total is None else [a + b for a, b in zip(total, gradients, strict=True)]
        assert total is not None
        self.optimizer.learning_rate.assign(learning_rate)
        self._update([g / len(batches) for g in total] if len(batches) > 1 else total)
        self.steps = int(self.optimizer.iterations.value)  # where float16 overflowed, no step was taken
        self.terms = terms
        return sum(losses) / len(batches)

    def begin_stage(self, objective: Objective, factors: Mapping[str, float], restart: bool = False) -> None:
        self.objective = objective
        before = {name: moments for name, *moments in self._moments()}
        closed = {name for name in self._weights if self._factors is not None and not self._factors.get(name)}
        opened = [n for n, factor in factors.items() if factor and (restart or n in closed)]
        self._extra = dict(getattr(objective, "weights", {}))
        self._factors = {**factors, **dict.fromkeys(self._extra, 1.0)}
        self._begun |= dict.fromkeys([*opened, *self._extra], self.steps)
        self._record()
        for name, first, second in self._moments():
            if name in before and name not in {*opened, *self._extra}:
                first.assign(before[name][0])
                second.assign(before[name][1])

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, without dropout; with the loss, when the batch holds labels."""
        return self._runner.run(batch)

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
            if begun := self._begun.get(name, 0):
                found[AGE + name] = np.array([self.steps - begun])
        found |= {EXTRA + name: variable_array(variable) for name, variable in self._extra.items()}
        for place, seed in enumerate(self._seeds()):
            found[f"{GENERATOR}keras.{place}"] = variable_array(seed)
        if self.scaler is not None:
            found[f"{GENERATOR}scale"] = np.array(
                [float(self.scaler.dynamic_scale.value), float(self.scaler.step_counter.value)]
            )
        return found | self.range_state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned; random numbers only if they were this framework's."""
        self.steps = int(state[STEPS][0])
        self.restore_ranges(state)
        if self._factors is not None:
            ages = {name: int(state.get(AGE + name, state[STEPS])[0]) for name, _ in self._trained()}
            self._begun = {name: self.steps - age for name, age in ages.items()}
            self._record()
        self.optimizer.iterations.assign(self.steps)
        for name, variable in self._extra.items():
            variable.assign(state[EXTRA + name])
        for name, first, second in self._moments():
            if FIRST + name in state:
                first.assign(self._oriented(name, state[FIRST + name]))
                second.assign(self._oriented(name, state[SECOND + name]))
        for place, seed in enumerate(self._seeds()):
            later = [self.recipe.seed * 65537 + place, self.steps]  # not the masks of the first steps again
            seed.assign(np.asarray(state.get(f"{GENERATOR}keras.{place}", later)).astype(seed.dtype))
        if self.scaler is not None and f"{GENERATOR}scale" in state:
            scale, counter = state[f"{GENERATOR}scale"]
            self.scaler.dynamic_scale.assign(scale)
            self.scaler.step_counter.assign(int(counter))

    # ------------------------------------------------------------------------------------------ inside

    def _record(self) -> None:
        """The optimizer of the weights that are trained now, with empty moments, and the graphs that use it."""
        import tensorflow as tf

        recipe, scale = self.recipe, self.scaler
        self.optimizer = (Lamb if recipe.optimizer == "lamb" else StagedAdamW)(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            beta_1=recipe.beta_1,
            beta_2=recipe.beta_2,
            epsilon=recipe.epsilon,
            global_clipnorm=recipe.clip_norm,
        )
        variables = self._variables()
        self.optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
        self.optimizer.build(variables)
        self.optimizer.iterations.assign(self.steps)
        if self._factors is not None:
            gates = [(self._factors[name], self._begun.get(name, 0)) for name, _ in self._trained()]
            self.optimizer.gates = tuple(gates)
        if self._precision == "float16":
            self.scaler = keras.optimizers.LossScaleOptimizer(self.optimizer)
            self.scaler.build(variables)
            if scale is not None:
                self.scaler.dynamic_scale.assign(scale.dynamic_scale)
                self.scaler.step_counter.assign(scale.step_counter)
        self._unread: set[int] = set()
        self._gradient_graphs = RecordedGraphs(self._gradients, self.model, self._jit)
        self._update = tf.function(self._apply, autograph=False, jit_compile=self._jit)

    def _trained(self) -> list[tuple[str, Any]]:
        """The weights of the table that are trained now, by name, and then those of the objective."""
        own = [(name, self.model.variable_of(weight)) for name, weight in self._weights.items()]
        chosen = [(n, v) for n, v in own if v.trainable and (self._factors is None or self._factors.get(n))]
        return [*chosen, *self._extra.items()]

    def _variables(self) -> list[Any]:
        if self._factors is None:
            return list(self.model.trainable_variables)
        return [variable for _, variable in self._trained()]

    def _gradients(self, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any], list[Any]]:
        import tensorflow as tf

        variables = [v.value for v in self._variables()]
        with tf.GradientTape(watch_accessed_variables=self._factors is None) as tape, self.moving_ranges():
            tape.watch(variables)
            result = self.objective(self.model, batch)
            parts = result if isinstance(result, dict) else {}
            loss = sum(parts.values()) if parts else result
            scaled = loss if self.scaler is None else self.scaler.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        if self._factors is not None:  # what nothing reads does not decay, as in PyTorch
            self._unread = {place for place, g in enumerate(gradients) if g is None}
        dense = [tf.zeros_like(v) if g is None else tf.convert_to_tensor(g) for g, v in
                 zip(gradients, variables, strict=True)]  # fmt: skip
        return loss, parts, dense

    def _apply(self, gradients: list[Any]) -> None:
        pairs = [pair for i, pair in enumerate(zip(gradients, self._variables(), strict=True)) if i not in self._unread]
        (self.scaler or self.optimizer).apply([g for g, _ in pairs], [v for _, v in pairs])

    def _seeds(self) -> list[Any]:
        """The states of the model's generators of random numbers, in the order of its layers."""
        states = {id(generator.state) for generator in seed_generators(self.model)}
        return [v for v in self.model.non_trainable_variables if id(v) in states]

    def _moments(self) -> list[tuple[str, Any, Any]]:
        """Adam's two moments by the name of their weight."""
        found = []
        for name, variable in self._trained():
            index = self.optimizer._get_variable_index(variable)
            found.append((name, self.optimizer._momentums[index], self.optimizer._velocities[index]))
        return found

    def _oriented(self, name: str, array: np.ndarray) -> np.ndarray:
        """From PyTorch's orientation to Keras's, or back."""
        return array.T if name in self._weights and "keras" in self._weights[name].transposed else array

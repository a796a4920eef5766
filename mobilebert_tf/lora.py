"""Low-rank adapters (LoRA, arXiv 2106.09685): a few trained weights beside frozen ones.

Keras adds the adapters to a single layer; here they are put where they belong in a model, frozen from the rest and
kept when the model is saved, which Keras's layers alone do not: they store merged kernels and come back with dead ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from mobilebert_core.errors import ConfigError
from mobilebert_core.weights import Weight

from .resizing import start_over

if TYPE_CHECKING:
    from .pretrained import TFMobileBertPreTrainedModel

DEFAULT_TARGETS = ("query", "value")  # as in the paper, section 4.2
_PREFIX = "mobilebert."


class LowRankAdapters(keras.layers.Layer):
    """Computes nothing: saves and loads the adapters of other layers, with the kernels that they were added to."""

    def __init__(self, adapted: Sequence[keras.layers.Layer]) -> None:
        super().__init__(name="low_rank_adapters")
        object.__setattr__(self, "_adapted", list(adapted))  # not tracked: these layers are the model's
        self.built = True

    def save_own_variables(self, store: Any) -> None:
        for i, variable in enumerate(self._variables()):
            store[str(i)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Runs after the layers loaded merged kernels. From a file without adapters they start afresh on those."""
        if store.keys():
            for i, variable in enumerate(self._variables()):
                variable.assign(store[str(i)])
            return
        for layer in self._adapted:
            _, a, _ = adapter_variables(layer)
            a.assign(keras.initializers.HeUniform()(a.shape, dtype=a.dtype))  # as Keras starts them

    def _variables(self) -> list[Any]:
        return [variable for layer in self._adapted for variable in adapter_variables(layer)]


def adapter_variables(layer: Any) -> tuple[Any, Any, Any]:
    """The frozen matrix of an adapted layer, and the two factors beside it."""
    if isinstance(layer, keras.layers.Embedding):
        return layer._embeddings, layer.lora_embeddings_a, layer.lora_embeddings_b
    return layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b


def merged(model: TFMobileBertPreTrainedModel, weight: Weight) -> Any:
    """The value of a weight with its adapters, if it has any, added in float32; Keras rounds to the compute dtype."""
    value = model.variable_of(weight)
    if isinstance(value, keras.Variable):
        return value
    layer = _layer_of(model, weight)
    base, a, b = adapter_variables(layer)
    return ops.cast(base, a.dtype) + (layer.lora_alpha / layer.lora_rank) * ops.matmul(a, b)


def _layer_of(model: TFMobileBertPreTrainedModel, weight: Weight) -> Any:
    found: Any = model
    for part in (weight.keras or "").split(".")[:-1]:
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    return found


def enable_lora(model: TFMobileBertPreTrainedModel, rank: int, targets: Sequence[str], alpha: float | None) -> None:
    """See `TFMobileBertPreTrainedModel.enable_lora`."""
    name = type(model).__name__
    if getattr(model, "lora", None) is not None:
        raise ConfigError(f"{name}.enable_lora: the model has adapters of rank {model.lora['rank']} already.")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"{name}.enable_lora: rank must be a whole number above 0, got {rank!r}.")
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    adapted = _targeted(model, targets)
    for module, layer in adapted.items():
        if getattr(layer, "quantization_mode", None) is not None:
            raise ConfigError(
                f"{name}.enable_lora: {module} is quantized to {layer.quantization_mode}. Add the adapters first."
            )
    for part in (model, *model.mobilebert._flatten_layers()):  # frozen leaf by leaf, so that adapters inside can train
        leaf = len(list(part._flatten_layers())) == 1
        part.trainable = True
        if leaf:
            part.trainable = False
    for layer in adapted.values():
        layer.trainable = True
        for variable in layer.variables:
            variable.trainable = False
        layer.enable_lora(rank, lora_alpha=alpha)
    model._tracker.unlock()
    model.low_rank_adapters = LowRankAdapters(list(adapted.values()))
    model._tracker.lock()
    model.lora = {"rank": rank, "targets": list(targets), "alpha": alpha}
    start_over(model)


def _targeted(model: TFMobileBertPreTrainedModel, targets: Sequence[str]) -> dict[str, Any]:
    """The layers whose names end with one of the targets, by the names of the table of weights."""
    modules: dict[str, Any] = {}
    for weight in model.weight_table():
        module, _, leaf = weight.full_name.rpartition(".")
        if leaf == "weight" and weight.keras and len(weight.shape) == 2 and module.startswith(_PREFIX):
            modules[module] = _layer_of(model, weight)
    adapted = {}
    for target in targets:
        hit = {module: layer for module, layer in modules.items() if f".{module}".endswith(f".{target}")}
        if not target or not hit:
            known = sorted({module.rpartition(".")[2] for module in modules})
            raise ConfigError(
                f"{type(model).__name__}.enable_lora: no layer is called {target!r}. Targets are ends of names such as "
                f"{next(iter(modules))}; the last parts are {', '.join(known)}. (A head trains whole.)"
            )
        adapted |= hit
    if not adapted:
        raise ConfigError(f"{type(model).__name__}.enable_lora: no targets were passed.")
    return adapted

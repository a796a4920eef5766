"""Low-rank adapters (LoRA, arXiv 2106.09685): a few trained weights beside frozen ones.

Keras adds adapters to a single layer. Here they are added to the layers of a model, frozen from the rest and kept when
the model is saved, which Keras's layers alone do not do: they store merged kernels and load unused adapters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from mobilebert_core.errors import ConfigError

DEFAULT_TARGETS = ("query", "value")  # as in the paper, section 4.2


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
        """Runs after the layers loaded merged kernels. From a file without adapters new ones start on those."""
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


def merged(layer: Any, base: Any) -> Any:
    """The matrix of an adapted layer with its adapters, added in float32; Keras rounds to the compute dtype."""
    _, a, b = adapter_variables(layer)
    return ops.cast(base, a.dtype) + (layer.lora_alpha / layer.lora_rank) * ops.matmul(a, b)


def targeted(caller: str, layers: Mapping[str, Any], rank: int, targets: Sequence[str]) -> dict[str, Any]:
    """The layers, of those by name, whose names end with one of the targets; checked with the rank.

    Raises:
        ConfigError: for a rank that is no number above 0, a target that no layer has, or a quantized layer.
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"{caller}: rank must be a whole number above 0, got {rank!r}.")
    adapted: dict[str, Any] = {}
    for target in targets:
        hit = {module: layer for module, layer in layers.items() if f".{module}".endswith(f".{target}")}
        if not target or not hit:
            known = sorted({module.rpartition(".")[2] for module in layers})
            raise ConfigError(
                f"{caller}: no layer is called {target!r}. Targets are ends of names such as "
                f"{next(iter(layers))}; the last parts are {', '.join(known)}. (A head trains whole.)"
            )
        adapted |= hit
    if not adapted:
        raise ConfigError(f"{caller}: wanted the names of layers to adapt as targets, got none.")
    refuse_adapted(caller, adapted)
    for module, layer in adapted.items():
        if getattr(layer, "quantization_mode", None) is not None:
            raise ConfigError(f"{caller}: {module} is quantized to {layer.quantization_mode}. Add the adapters first.")
    return adapted


def refuse_adapted(caller: str, layers: Mapping[str, Any]) -> None:
    """Raises a ConfigError if one of the layers by name got adapters by its own `enable_lora`."""
    found = [name for name, layer in layers.items() if getattr(layer, "lora_enabled", False)]
    if found:
        raise ConfigError(
            f"{caller}: wanted layers without low-rank adapters, got {len(found)} with them, the first {found[0]}. "
            "Merge them first: save_pretrained, then from_pretrained."
        )


def add_adapters(
    encoder: keras.layers.Layer, adapted: Sequence[Any], rank: int, alpha: float | None
) -> LowRankAdapters:
    """Freezes all layers inside `encoder` and adds trained adapters to some of them."""
    for part in encoder._flatten_layers():  # frozen leaf by leaf, so that adapters inside can train
        leaf = len(list(part._flatten_layers())) == 1
        part.trainable = True
        if leaf:
            part.trainable = False
    for layer in adapted:
        layer.trainable = True
        for variable in layer.variables:
            variable.trainable = False
        layer.enable_lora(rank, lora_alpha=alpha)
    return LowRankAdapters(adapted)

"""What Keras does to the layers of a model that is built: low-rank adapters and quantization.

Around PyTorch's models libraries do this from outside.
"""

from __future__ import annotations

from typing import Any

import keras

from mobilebert_core.errors import ConfigError
from mobilebert_core.weight_rows import BASE_PREFIX

from . import lora, quantization
from .layer_paths import layers_by_path
from .lora import DEFAULT_TARGETS


class AdaptedByKeras(keras.Model):
    """For models: `enable_lora`, and `quantize` that knows of it."""

    mobilebert: Any
    lora: dict[str, Any] | None  # what enable_lora was called with

    def enable_lora(self, rank: int, targets: Any = DEFAULT_TARGETS, alpha: float | None = None) -> None:
        """Freezes the encoder but for low-rank adapters (LoRA) beside some of its matrices; a head trains whole.

        `targets` are ends of names in the table of weights: "query", "ffn.0.intermediate.dense", "word_embeddings", of
        which a tied decoder reads the adapted table too. Products of the factors are scaled by `alpha / rank`; default
        alpha is rank. `save_pretrained` writes merged weights; a .keras file keeps the adapters apart. A compiled model
        is compiled again, with a new optimizer.

        Raises:
            ConfigError: for adapters a second time, a target that no layer has, or a quantized layer.
        """
        caller = f"{type(self).__name__}.enable_lora"
        if self.lora is not None:
            raise ConfigError(
                f"{caller}: the model has adapters of rank {self.lora['rank']} already. For others merge these first: "
                "save_pretrained, then from_pretrained."
            )
        targets = (targets,) if isinstance(targets, str) else tuple(targets)
        matrices = [w for w in self.weight_table() if w.full_name.endswith(".weight") and w.keras and len(w.shape) == 2]
        names = {w.full_name.removesuffix(".weight"): w for w in matrices if w.full_name.startswith(BASE_PREFIX)}
        layers = {name: self._layer_of(weight) for name, weight in names.items()}
        adapted = list(lora.targeted(caller, layers, rank, targets).values())
        self.trainable = True
        adapters = lora.add_adapters(self.mobilebert, adapted, rank, alpha)
        self._tracker.unlock()
        self.low_rank_adapters = adapters
        self._tracker.lock()
        self.lora = {"rank": rank, "targets": list(targets), "alpha": alpha}
        self._start_over()

    def quantize(self, *args: Any, filters: Any = None, **kwargs: Any) -> None:
        """As `keras.Model.quantize`; not with low-rank adapters, which a quantized file would lose.

        A .keras file keeps the integers; `save_pretrained` writes the weights as they act, in floating point. A
        compiled model is compiled again, with a new optimizer.

        Raises:
            ConfigError: for a model with adapters, or layers that are quantized already.
        """
        self._without_adapters("quantize")
        quantization.refuse_twice(f"{type(self).__name__}.quantize", self, filters)
        with quantization.one_collection():
            super().quantize(*args, **kwargs | ({} if filters is None else {"filters": filters}))
        self._start_over()

    def _without_adapters(self, method: str) -> None:
        if self.lora is not None:
            raise ConfigError(
                f"{type(self).__name__}.{method}: the model has low-rank adapters, which fit its weights as they are. "
                "Merge them first: save_pretrained, then from_pretrained."
            )

    def _in_floating_point(self, method: str) -> None:
        caller = f"{type(self).__name__}.{method}"
        quantization.refuse_quantized(caller, self, "quantized weights cannot be changed")
        lora.refuse_adapted(caller, layers_by_path(self))

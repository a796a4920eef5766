"""A Keras model with its norms folded into the weights. What is folded how stands in mobilebert_core/folding.py.

Twin: mobilebert_torch/folding.py.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from mobilebert_core import folding

from .construction import array_to_write, own_variables
from .pretrained import TFMobileBertPreTrainedModel
from .quantization import refuse_quantized
from .variables import variable_array

AUTO = "all"  # the fastest basis here; see tests/benchmarks/bench_forward.py

Model = TypeVar("Model", bound=TFMobileBertPreTrainedModel)


def fold(model: Model, basis: str = "auto") -> Model:
    """A new model of the same class, not compiled, that gives the same outputs with fewer operations.

    Hidden states, attentions and the scores of every head keep their values and units. It is saved, loaded and
    converted like every model; `config.folding` says what it is. Low-rank adapters are merged.

    Args:
        basis: "all", "block" (see `mobilebert_core.folding`), or "auto" for the fastest in Keras.

    Raises:
        ConfigError: for a model with layer norm, a folded one, a quantized one, or weights that are not finite.
    """
    refuse_quantized("fold", model, "integers cannot be folded")
    weights = {weight.full_name: weight for weight in model.weight_table()}

    def read(full_name: str) -> np.ndarray:
        return array_to_write(model, weights[full_name])

    folded = folding.fold(model.config, read, AUTO if basis == "auto" else basis)
    options = {"add_pooling_layer": model.mobilebert.pooler is not None} if model.head.bare else {}
    new = type(model)(folded.config, initializer="zeros", dtype=model.dtype_policy, **options)
    for weight in new.weight_table():
        if weight.tied_to is None:
            found = folded.arrays.get(weight.full_name)
            array = read(weight.full_name) if found is None else found
            new.variable_of(weight).assign(array.T if "keras" in weight.transposed else array)
    if "head" not in vars(type(model)):
        before = own_variables(model)
        for name, variable in own_variables(new).items():
            variable.assign(variable_array(before[name]))
    return new

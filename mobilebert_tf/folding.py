"""A Keras model with its norms folded into the weights. What is folded how stands in mobilebert_core/folding.py.

Twin: mobilebert_torch/folding.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from mobilebert_core import folding
from mobilebert_core.inputs import TEXT_INPUTS, check_inputs

from .construction import array_to_write, own_variables
from .inputs import PROBE
from .pretrained import TFMobileBertPreTrainedModel
from .quantization import refuse_quantized
from .variables import variable_array

AUTO = "block"  # the fastest basis here: 0.91 of the time of a graph of transformers, "all" 0.99 (bench_forward)

Model = TypeVar("Model", bound=TFMobileBertPreTrainedModel)


def fold(model: Model, basis: str = "auto", calibration: Mapping[str, Any] | None = None, dtype: Any = None) -> Model:
    """A new model of the same class, not compiled, that gives the same outputs with fewer operations.

    Hidden states, attentions and the scores of every head keep their values and units. It is saved, loaded and
    converted like every model; `config.folding` says what it is. Low-rank adapters are merged. A model with layer norm
    is copied as it is, whatever the basis: layer norm is not affine, and "half" scales none of its states.

    What a block and its layers store has units of its own in the bases "all" and "half"; `output_hidden_states` gives
    the states in those of the trained model.

    For half precision: `fold(model, "half", batch, "mixed_float16")`, with what a tokenizer gives for some tens of
    texts. A saved model may also be loaded in another policy. Scores and hidden states are float32.

    Args:
        basis: "all", "block" or "half" (see `mobilebert_core.folding`), or "auto" for the fastest in Keras.
        calibration: for "half", a batch of inputs: input_ids and, if there is padding, attention_mask, and
            token_type_ids. From it powers of two are chosen; values 32 times as large still fit.
        dtype: the policy of the new model; default that of the model.

    Raises:
        ConfigError: for a folded model, a quantized one, weights that are not finite, or "half" without calibration.
        InputError: for a calibration batch that the model does not take.
    """
    refuse_quantized("fold", model, "integers cannot be folded")
    weights = {weight.full_name: weight for weight in model.weight_table()}
    batch = None
    if calibration is not None:
        batch = {name: np.asarray(calibration[name]) for name in TEXT_INPUTS if name in calibration}
        check_inputs(model.config, model.head, batch, PROBE)

    def read(full_name: str) -> np.ndarray:
        return array_to_write(model, weights[full_name])

    basis = AUTO if basis == "auto" else basis
    folded = folding.fold(model.config, read, basis, batch, model.head, model._has_pooler)
    policy = dtype or model.dtype_policy
    new = type(model)(folded.config, initializer="zeros", dtype=policy, **model._pooler_option())
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

"""A PyTorch model with its norms folded into the weights. What is folded how stands in mobilebert_core/folding.py.

Twin: mobilebert_tf/folding.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from mobilebert_core import folding
from mobilebert_core.errors import ConfigError
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.weight_rows import BASE_PREFIX

from .inputs import checked_inputs
from .pretrained import MobileBertPreTrainedModel
from .state_dict import unreadable

# The fastest basis here: one text of 16 and of 128 tokens takes 0.62 and 0.74 of the time of transformers 5.23 eager on
# one thread of an AMD EPYC, where the products alone take 0.35 and 0.60 (tests/benchmarks/bench_forward.py).
AUTO = "all"

Model = TypeVar("Model", bound=MobileBertPreTrainedModel)


def fold(
    model: Model, basis: str = "auto", calibration: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None
) -> Model:
    """A new model of the same class, in evaluation mode, that gives the same outputs with fewer operations.

    Hidden states, attentions and the scores of every head keep their values and units. It is saved, loaded and
    converted like every model; `config.folding` says what it is. A model with layer norm is copied as it is, whatever
    the basis: layer norm is not affine, and "half" scales none of its states.

    Hooks and modules around others are called as before, but what a block and its modules store has units of its own
    in the bases "all" and "half"; `output_hidden_states` gives them in those of the trained model.

    For half precision: `fold(model, "half", batch, torch.float16)`, with what a tokenizer gives for some tens of texts.
    `model.half()`, `model.bfloat16()` and autocast may also follow later. Scores and hidden states are then float32.

    Args:
        basis: "all", "block" or "half" (see `mobilebert_core.folding`), or "auto" for the fastest in PyTorch.
        calibration: for "half", a batch of inputs: input_ids and, if there is padding, attention_mask, and
            token_type_ids. From it powers of two are chosen; values 32 times as large still fit.
        dtype: of the new model; default that of the model.

    Raises:
        ConfigError: for a folded model, one whose layers another library has wrapped, weights that are not finite or
            on the meta device, sharded or quantized, or "half" without calibration.
        InputError: for a calibration batch that the model does not take.
    """
    state = model.state_dict()
    weights = {w.full_name: w for w in model.weight_table() if w.tied_to is None}
    names = {full_name: weight.name for full_name, weight in weights.items()}
    folding.check_plain(type(model).__name__, [name for name in names.values() if name not in state])
    batch = None
    if calibration is not None:
        tensors = {name: torch.as_tensor(calibration[name]).cpu() for name in TEXT_INPUTS if name in calibration}
        batch = {name: tensor.numpy() for name, tensor in checked_inputs(model.config, model.head, tensors).items()}

    if any(tensor.is_meta for tensor in state.values()):
        raise ConfigError(
            f"fold: wanted weights with values, got a {type(model).__name__} on the meta device. Load it."
        )

    if sealed := [name for name in names.values() if unreadable(state[name]) is not None]:
        raise ConfigError(
            f"fold: wanted dense tensors, got {sealed[0]} as a {type(state[sealed[0]]).__name__}. Fold the model "
            "before it is sharded, quantized or made sparse."
        )

    def read(full_name: str) -> np.ndarray:
        return state[names[full_name]].double().cpu().numpy()

    basis = AUTO if basis == "auto" else basis
    folded = folding.fold(model.config, read, basis, batch, model.head, model._has_pooler)
    gone = {names[full_name] for full_name in folded.replaced}
    gone |= {weight.name for weight in model.weight_table() if weight.tied_to is not None}
    dtype = dtype or model.dtype
    tensors = {name: tensor.to(dtype, copy=True) for name, tensor in state.items() if name not in gone}
    for full_name, array in folded.arrays.items():
        name = full_name.removeprefix(BASE_PREFIX) if model.head.bare else full_name
        tensors[name] = torch.as_tensor(array).to(model.device, dtype)
    return type(model)._of_tensors(folded.config, tensors, model._pooler_option()).eval()

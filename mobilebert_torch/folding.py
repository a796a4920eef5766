"""A PyTorch model with its norms folded into the weights. What is folded how stands in mobilebert_core/folding.py.

Twin: mobilebert_tf/folding.py.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from mobilebert_core import folding

from .pretrained import MobileBertPreTrainedModel

AUTO = "all"  # the fastest basis here; see tests/benchmarks/bench_forward.py

Model = TypeVar("Model", bound=MobileBertPreTrainedModel)


def fold(model: Model, basis: str = "auto") -> Model:
    """A new model of the same class, in evaluation mode, that gives the same outputs with fewer operations.

    Hidden states, attentions and the scores of every head keep their values and units. It is saved, loaded and
    converted like every model; `config.folding` says what it is.

    Args:
        basis: "all", "block" (see `mobilebert_core.folding`), or "auto" for the fastest in PyTorch.

    Raises:
        ConfigError: for a model with layer norm, a folded one, one whose layers another library has wrapped, or
            weights that are not finite.
    """
    state = model.state_dict()
    weights = {w.full_name: w for w in model.weight_table() if w.tied_to is None}
    names = {full_name: weight.name for full_name, weight in weights.items()}
    folding.check_plain(type(model).__name__, [name for name in names.values() if name not in state])

    def read(full_name: str) -> np.ndarray:
        return state[names[full_name]].double().cpu().numpy()

    folded = folding.fold(model.config, read, AUTO if basis == "auto" else basis)
    replaced = {names[full_name] for full_name in folded.replaced}
    tied = {weight.name for weight in model.weight_table() if weight.tied_to is not None}
    tensors = {name: tensor.clone() for name, tensor in state.items() if name not in replaced | tied}
    for full_name, array in folded.arrays.items():
        name = full_name.removeprefix("mobilebert.") if model.head.bare else full_name
        tensors[name] = torch.as_tensor(array).to(model.device, model.dtype)
    options = {"add_pooling_layer": model._has_pooler} if model.head.bare else {}
    return type(model)._of_tensors(folded.config, tensors, options).eval()

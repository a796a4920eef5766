"""State dicts as files of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilebert_core.checkpoints.dtypes import COUNTS
from mobilebert_core.checkpoints.names.torch import without_inner_wrappers
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import CheckpointError
from mobilebert_core.weights import Weight

_PARAMETRIZED = "It is parametrized: call torch.nn.utils.parametrize.remove_parametrizations(module, name)"
_ADAPTED = "The model has adapters of PEFT: save these with the PeftModel, or merge them by its merge_and_unload()"
# What stands in the place of a weight, and what then is to be done.
_IN_PLACE = {
    "{path}.{leaf}_orig": "It is pruned: make that permanent with torch.nn.utils.prune.remove(module, name)",
    "{path}.{leaf}_u": "It has the older spectral norm: call torch.nn.utils.remove_spectral_norm(module, name)",
    "{path}.{leaf}_g": "It has the older weight norm: call torch.nn.utils.remove_weight_norm(module, name)",
    "{path}.parametrizations.{leaf}.original": _PARAMETRIZED,
    "{path}.parametrizations.{leaf}.original0": _PARAMETRIZED,
    "{path}.base_layer.{leaf}": _ADAPTED,
    "{path}.modules_to_save.default.{leaf}": _ADAPTED,
}

_PACKED = "Layers that torch.ao has quantized hold packed integers: save the model before it is quantized."
_QUANTIZED = "Save the model before it is quantized, or pass a state_dict with dequantize() of such tensors."
_SHARDED = (
    "Its parts lie in several processes: pass state_dict=get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True)) of torch.distributed.checkpoint.state_dict, in all of them."
)
_OTHER_MODULES = (
    "Set the configuration that says so, such as num_hidden_layers, or save a class derived from it, whose own weights "
    "are kept"
)
_OWN_ADVICE = f"The model has no such module, which was replaced or removed. {_OTHER_MODULES}"


def unreadable(tensor: Tensor) -> str | None:
    """What a tensor is that numpy cannot read, and what gives its values; None for one that it can."""
    if tensor.layout != torch.strided:
        return f"with the layout {tensor.layout}. Pass to_dense() of it."
    if not hasattr(tensor, "__tensor_flatten__"):  # of what holds its values in other tensors
        return None
    if hasattr(tensor, "full_tensor"):
        return f"as {type(tensor).__name__}. {_SHARDED}"
    return f"as {type(tensor).__name__}. {_QUANTIZED}"


class StateDict:
    """A state dict with the face of a weight file; `path` is what messages call it.

    Raises:
        CheckpointError: for anything but a mapping of names to tensors.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        if not isinstance(tensors, Mapping):
            raise CheckpointError(f"{path}: wanted a mapping of names to tensors, got a {type(tensors).__name__}.")
        wrong = [n for n, t in tensors.items() if not (isinstance(n, str) and isinstance(t, Tensor))]
        if wrong:
            kind, advice = type(tensors[wrong[0]]).__name__, "Pass model.state_dict()."
            advice = _PACKED if "_packed_params" in str(wrong[0]) else advice
            raise CheckpointError(f"{path}: wanted names to tensors, got {wrong[0]!r:.80} to a {kind}. {advice}")
        tensors = {without_inner_wrappers(name): tensor for name, tensor in tensors.items()}
        self.path = path
        self._tensors = tensors
        self.stored = {n: TensorInfo(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()}

    def check_complete(
        self, place: str, cls: str, names: Iterable[str], added: Iterable[str] = (), own: bool = False
    ) -> None:
        """Raises CheckpointError where a weight is absent, with what stands in its place, or no floating point.

        Those that a class has `added` may also be whole numbers. `own` says that it is the state dict of the model
        itself, from which nothing can be gathered.
        """
        names = list(names)
        absent = [name for name in names if name not in self.stored]
        if not absent:
            kept = {*DTYPES, *COUNTS}
            whole = [n for n in names if self.stored[n].dtype not in (kept if n in added else DTYPES)]
            if whole:
                raise CheckpointError(
                    f"{place}: wanted weights in floating point, got {len(whole)} others, the first {whole[0]} "
                    f"({self.stored[whole[0]].dtype}); nothing was written. Save before weights are quantized, or pass "
                    "the state dict with their values."
                )
            return
        advice = _OWN_ADVICE if own else "Gather the whole state dict first"
        for name in absent:
            path, _, leaf = name.rpartition(".")
            for sign, said in _IN_PLACE.items():
                if sign.format(path=path, leaf=leaf) in self.stored:
                    advice = said
        raise CheckpointError(
            f"{place}: state_dict lacks {len(absent)} weights of {cls}, the first {absent[0]}; nothing was written. "
            f"{advice}."
        )

    def check_nothing_lost(self, place: str, table: Iterable[Weight], own: Iterable[str], held: Iterable[str]) -> None:
        """Raises CheckpointError where a file of these weights would not give back the model that holds them.

        Args:
            table: the weights of its configuration, of which tied ones are written once.
            own: names that are written beside them.
            held: the names of its parameters.
        """
        names = {weight.full_name: weight.name for weight in table}
        known = {*names.values(), *own}
        if lost := [name for name in map(without_inner_wrappers, held) if name not in known]:
            raise CheckpointError(
                f"{place}: the model holds {len(lost)} weights that its class and configuration do not have, the first "
                f"{lost[0]}; nothing was written. {_OTHER_MODULES}."
            )
        for weight in table:
            if weight.tied_to is not None and not self._equal(weight.name, names[weight.tied_to]):
                raise CheckpointError(
                    f"{place}: {weight.name} is tied to {names[weight.tied_to]} and has other values; nothing was "
                    "written. For those of the second call tie_weights(), as after "
                    "load_state_dict(..., assign=True); to keep both set config.tie_word_embeddings = False."
                )

    def _equal(self, name: str, other: str) -> bool:
        """Whether two tensors have the same values, or one is not there."""
        one, two = self._tensors.get(name), self._tensors.get(other)
        if one is None or two is None or one is two or one.is_meta or two.is_meta:
            return True
        return one.data_ptr() == two.data_ptr() or torch.equal(one.to(two), two)

    def read(self, name: str) -> Any:
        """A copy of one array as numpy; bfloat16, which numpy lacks, comes exactly as float32."""
        if self._tensors[name].is_meta:
            raise CheckpointError(f"{self.path}: {name} is on the meta device and has no values. Load the model first.")
        if (found := unreadable(self._tensors[name])) is not None:
            raise CheckpointError(f"{self.path}: wanted dense tensors, got {name} {found}")
        tensor = self._tensors[name].detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor.clone()).numpy()

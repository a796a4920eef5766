"""State dicts of PyTorch models, with the prefixes and old names that are in use, read under full names."""

from __future__ import annotations

from collections.abc import Iterable

from ...weight_rows import BASE_PREFIX
from ...weights import Weight
from ..tensor_info import MappedCheckpoint, WeightFile

# What wraps a whole model: DataParallel and DistributedDataParallel, torch.compile, and modules of training loops.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
# What wraps modules inside of a model: activation checkpointing, FSDP, torch.compile.
_INNER_WRAPPERS = ("_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "_orig_mod.")
# The root of models that were converted from Google's names by hand.
_OLD_ROOT = "bert."
# The names of norms until 2019, which come from TensorFlow.
_OLD_LEAVES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# A buffer that older releases stored: 0, 1, 2, ...
_POSITION_IDS = BASE_PREFIX + "embeddings.position_ids"


def torch_names(file: WeightFile, weights: Iterable[Weight]) -> MappedCheckpoint:
    """Maps a state dict to full names: adds the base prefix, removes wrappers, replaces old names."""
    known = {weight.full_name: weight for weight in weights}
    dropped = {}
    found = {}
    for name in file.stored:
        full_name = _full_name(name, known)
        if full_name in known:
            found[name] = known[full_name]
        elif full_name == _POSITION_IDS:
            dropped[name] = "positions 0, 1, 2, ..., which need no storing"
    return MappedCheckpoint(file, "torch", found, dropped)


def without_inner_wrappers(name: str) -> str:
    """A name of a state dict as it is without wrappers of modules inside the model."""
    for wrapper in _INNER_WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _full_name(name: str, known: Iterable[str]) -> str:
    stripped = without_inner_wrappers(name)
    while stripped.startswith(_WRAPPERS):
        stripped = stripped.partition(".")[2]
    if stripped.startswith(_OLD_ROOT):
        stripped = BASE_PREFIX + stripped.removeprefix(_OLD_ROOT)
    for old, new in _OLD_LEAVES.items():
        if stripped.endswith(old):
            stripped = stripped.removesuffix(old) + new
    prefixed = BASE_PREFIX + stripped
    return prefixed if prefixed in known or prefixed == _POSITION_IDS else stripped

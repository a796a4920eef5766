"""Makes PyTorch take the outputs apart: export, compile, tracing, DDP and func_call need it."""

from __future__ import annotations

import torch
from torch.utils import _pytree

from mobilebert_core.outputs import ModelOutput, flatten_output, register_outputs, unflatten_output


def _register_pytree(cls: type[ModelOutput]) -> None:
    def flatten_with_keys(output: ModelOutput):
        children, keys = flatten_output(output)
        return [(_pytree.MappingKey(key), child) for key, child in zip(keys, children, strict=True)], keys

    _pytree.register_pytree_node(
        cls,
        flatten_output,  # type: ignore[arg-type]  # a tuple of children serves as well as a list
        lambda children, keys: unflatten_output(cls, keys, children),
        serialized_type_name=f"mobilebert.{cls.__name__}",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
        flatten_with_keys_fn=flatten_with_keys,
    )
    torch.jit.ignore(cls)  # `torch.jit.trace` would compile the class rather than see that it is a dict


def register() -> None:
    """With PyTorch's own trees."""
    register_outputs("torch", _register_pytree)

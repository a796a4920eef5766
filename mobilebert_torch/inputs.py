"""Inputs of the PyTorch models: gathered and checked, and masks turned into what attention adds.

B batch, S sequence, N heads, L layers. Twin: mobilebert_tf/inputs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import Head
from mobilebert_core.inputs import Shape, check_inputs

from .transforms import is_transformed
from .watched import is_watched

_LOOKED_UP = (torch.int64, torch.int32)  # the whole numbers that PyTorch looks up by


class ArrayProbe:
    """Reads tensors for the checks. Values are read on the CPU only: on a GPU that would wait for the device."""

    def shape(self, array: Tensor) -> Shape:
        return tuple(array.shape)

    def is_integer(self, array: Tensor) -> bool:
        kind = array.dtype
        return not (kind.is_floating_point or kind.is_complex or kind == torch.bool)

    def bounds(self, array: Tensor, ignore: int | None = None) -> tuple[float, float] | None:
        if not _is_readable(array):
            return None
        array = array if array.dtype not in _COUNTED_BY_FEW else array.long()
        if ignore is not None:
            array = array[array != ignore]
        if array.numel() == 0:
            return None
        low, high = torch.aminmax(array)
        return float(low), float(high)

    def has_fractions(self, array: Tensor) -> bool:
        return _is_readable(array) and bool((array != array.round()).any())


_COUNTED_BY_FEW = (torch.uint16, torch.uint32, torch.uint64)  # types without most of PyTorch's functions


def _is_readable(array: Tensor) -> bool:
    """False for arrays on a GPU and for those that stand for others, as in `torch.func.vmap`."""
    return type(array) in (Tensor, torch.nn.Parameter) and array.device.type == "cpu" and not is_transformed(array)


PROBE = ArrayProbe()


def table_in(module: nn.Module) -> nn.Embedding:
    """An embedding, or the one inside of a module that adapters such as PEFT's put around it."""
    for each in module.modules():
        if isinstance(each, nn.Embedding):
            return each
    raise ConfigError(
        "wanted a torch.nn.Embedding, or a module around one, as a table of the embeddings, got "
        f"{type(module).__module__}.{type(module).__qualname__}. Leave embeddings out of what is quantized; other "
        "tables compute inputs_embeds outside of the model."
    )


def rows_of(table: nn.Module) -> int:
    """How many rows an embedding has."""
    return table_in(table).num_embeddings


def first_rows(table: nn.Module, ids: Callable[[], Tensor], count: int) -> Tensor:
    """The first rows of an embedding (count, F); where an adapter or a hook is around it, what it gives for `ids`."""
    if isinstance(table, nn.Embedding) and not is_watched(table):
        return table.weight[:count]
    rows: Tensor = table(ids())
    return rows


def input_dict(
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    head_mask: Tensor | None,
    inputs_embeds: Tensor | None,
) -> dict[str, Tensor | None]:
    """The inputs of a call by name."""
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        "position_ids": position_ids,
        "head_mask": head_mask,
        "inputs_embeds": inputs_embeds,
    }


def checking() -> bool:
    """False while a graph is recorded: there the values are not known, and a check would become a guard."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def checked_inputs(config: MobileBertConfig, head: Head, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs after `check_inputs`."""
    inputs = dict(inputs)
    if checking():
        check_tensors(head, inputs)
        check_inputs(config, head, inputs, PROBE)
    return inputs


def check_tensors(head: Head, arguments: Mapping[str, Any]) -> None:
    """Raises InputError for an argument that is neither a tensor nor absent."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Tensor):
            if isinstance(value, torch.fx.Proxy):
                raise InputError(
                    f"{head.class_name}: wanted tensors, got the stand-ins of torch.fx.symbolic_trace, which have no "
                    "shapes. torch.export.export(model, (), inputs).module() is a torch.fx.GraphModule of this model."
                )
            raise InputError(
                f"{head.class_name}: {name} must be a torch.Tensor, got {type(value).__name__}. "
                f"torch.as_tensor({name}) makes one."
            )


def as_indices(ids: Tensor, size: int) -> Tensor:
    """Ids of any integer type as a table of `size` rows is looked up by.

    In a recorded graph a negative one stays outside the table: other runtimes would count it from the end.
    """
    ids = ids if ids.dtype in _LOOKED_UP else ids.long()
    return ids if checking() else torch.where(ids < 0, ids - size, ids)


def fold_choices(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """(B, choices, ...) -> (B * choices, ...) for every input but the head mask, and the number of choices."""
    main = inputs["input_ids"] if inputs["input_ids"] is not None else inputs["inputs_embeds"]
    folded = {
        name: value if value is None or name == "head_mask" or value.dim() < 3 else value.flatten(0, 1)
        for name, value in inputs.items()
    }
    return folded, main.shape[1]


def attention_bias(attention_mask: Tensor, dtype: torch.dtype, mask_value: float | None = None) -> Tensor:
    """What is added to the attention scores (B, 1 or N, S or 1, S): 0 keeps a token, the lowest number drops it.

    Takes (B, S), (B, S, S) or (B, 1 or N, S, S) of ones and zeros; a 4-D mask of floats is passed on as it is.
    The lowest finite number in place of minus infinity keeps a row without any token finite and uniform. `mask_value`
    stands in its place in exported graphs: quantization spreads its steps over all values that occur.
    """
    if attention_mask.dim() == 2:
        attention_mask = attention_mask[:, None, None, :]
    elif attention_mask.dim() == 3:
        attention_mask = attention_mask[:, None]
    elif attention_mask.is_floating_point():
        return attention_mask.to(dtype).clamp(min=torch.finfo(dtype).min)
    if attention_mask.dtype in _COUNTED_BY_FEW:
        attention_mask = attention_mask.long()
    keep = attention_mask if attention_mask.dtype == torch.bool else attention_mask >= 1
    dropped = torch.finfo(dtype).min if mask_value is None else mask_value
    lowest = torch.full((), dropped, dtype=dtype, device=keep.device)
    return torch.where(keep, torch.zeros((), dtype=dtype, device=keep.device), lowest)


def head_masks(head_mask: Tensor | None, layers: int, dtype: torch.dtype) -> list[Tensor | None]:
    """One factor (1, N, 1, 1) a layer from a mask of (N,) or (L, N)."""
    if head_mask is None:
        return [None] * layers
    head_mask = head_mask.to(dtype)
    per_layer = head_mask.expand(layers, -1) if head_mask.dim() == 1 else head_mask
    return [row[None, :, None, None] for row in per_layer]

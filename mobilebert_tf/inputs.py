"""Inputs of the Keras models: gathered and checked, and masks turned into what attention adds.

B batch, S sequence, N heads, L layers. Twin: mobilebert_torch/inputs.py.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.inputs import Shape

from . import keras_on_torch

ID_INPUTS = ("input_ids", "token_type_ids", "position_ids")

# Arrays with values; anything else is a placeholder of a graph being recorded.
_CONCRETE = ("ndarray", "EagerTensor", "ArrayImpl")


def _readable(array: Any) -> bool:
    """Whether this process can read the values: of an array of JAX parts may lie with other processes."""
    if keras_on_torch.is_tensor(array):
        return keras_on_torch.is_readable(array)
    concrete = isinstance(array, np.ndarray) or type(array).__name__ in _CONCRETE
    return concrete and getattr(array, "is_fully_addressable", True)


def _values(array: Any) -> np.ndarray:
    """A readable array in NumPy."""
    return keras_on_torch.values_of(array) if keras_on_torch.is_tensor(array) else np.asarray(array)


class ArrayProbe:
    """Reads numpy and backend arrays for the checks; the values of a graph's placeholders are unknown."""

    def shape(self, array: Any) -> Shape:
        return tuple(size if isinstance(size, int) else None for size in array.shape)  # JAX exports with symbols

    def is_integer(self, array: Any) -> bool:
        return "int" in keras.backend.standardize_dtype(array.dtype)

    def bounds(self, array: Any, ignore: int | None = None) -> tuple[float, float] | None:
        if not _readable(array):
            return None
        values = _values(array)
        if ignore is not None:
            values = values[values != ignore]
        return (float(values.min()), float(values.max())) if values.size else None

    def has_fractions(self, array: Any) -> bool:
        if not _readable(array):
            return False
        values = _values(array)
        return bool((values != np.round(values)).any())


PROBE = ArrayProbe()


def input_dict(
    input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any, head_mask: Any, inputs_embeds: Any
) -> dict[str, Any]:
    """The inputs of a call by name."""
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        "position_ids": position_ids,
        "head_mask": head_mask,
        "inputs_embeds": inputs_embeds,
    }


def as_indices(ids: Any, size: int) -> Any:
    """Ids of any integer type as a table of `size` rows is looked up by.

    In a recorded graph a negative one stays outside the table: Keras would count it from the end.
    """
    if keras.backend.standardize_dtype(ids.dtype) not in ("int32", "int64"):
        ids = ops.cast(ids, "int32")
    return ids if type(ids).__name__ in _CONCRETE else ops.where(ids < 0, ids - size, ids)


def fold_choices(inputs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """(B, choices, ...) -> (B * choices, ...) for every input but the head mask, and the number of choices."""
    main = inputs["input_ids"] if inputs["input_ids"] is not None else inputs["inputs_embeds"]
    folded = {
        name: value
        if value is None or name == "head_mask" or len(value.shape) < 3
        else ops.reshape(value, (-1, *ops.shape(value)[2:]))
        for name, value in inputs.items()
    }
    return folded, main.shape[1] if main.shape[1] is not None else ops.shape(main)[1]


def attention_bias(attention_mask: Any, dtype: str, mask_value: float | None = None) -> Any:
    """What is added to the attention scores (B, 1 or N, S or 1, S): 0 keeps a token, the lowest number drops it.

    Takes (B, S), (B, S, S) or (B, 1 or N, S, S) of ones and zeros; a 4-D mask of floats is passed on as it is.
    The lowest finite number in place of minus infinity keeps a row without any token finite and uniform. `mask_value`
    stands in its place in exported graphs: quantization spreads its steps over all values that occur.
    """
    kind = keras.backend.standardize_dtype(attention_mask.dtype)
    if len(attention_mask.shape) == 2:
        # Two steps: LiteRT does not convert a slice that adds two axes of unknown sizes.
        attention_mask = ops.expand_dims(ops.expand_dims(attention_mask, 1), 1)
    elif len(attention_mask.shape) == 3:
        attention_mask = ops.expand_dims(attention_mask, 1)
    elif "float" in kind:
        return ops.maximum(ops.cast(attention_mask, dtype), float(np.finfo(dtype).min))
    keep = attention_mask if kind == "bool" else attention_mask >= 1
    dropped = float(np.finfo(dtype).min) if mask_value is None else mask_value
    return ops.where(keep, ops.zeros((), dtype), ops.convert_to_tensor(dropped, dtype))


def head_masks(head_mask: Any, layers: int, dtype: str) -> list[Any]:
    """One factor (1, N, 1, 1) a layer from a mask of (N,) or (L, N)."""
    if head_mask is None:
        return [None] * layers
    head_mask = ops.cast(head_mask, dtype)
    rows = [head_mask] * layers if len(head_mask.shape) == 1 else [head_mask[i] for i in range(layers)]
    return [ops.reshape(row, (1, -1, 1, 1)) for row in rows]

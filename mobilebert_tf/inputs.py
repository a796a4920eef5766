"""Inputs of the Keras models: gathered and checked, and masks turned into what attention adds.

B batch, S sequence, N heads, L layers. Twin: mobilebert_torch/inputs.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.errors import InputError
from mobilebert_core.inputs import Shape

# Arrays whose values can be read; anything else is a placeholder of a graph being recorded.
_CONCRETE = ("ndarray", "EagerTensor", "ArrayImpl")


class ArrayProbe:
    """Reads numpy and backend arrays for the checks; the values of a graph's placeholders are unknown."""

    def shape(self, array: Any) -> Shape:
        return tuple(array.shape)

    def is_integer(self, array: Any) -> bool:
        return "int" in keras.backend.standardize_dtype(array.dtype)

    def bounds(self, array: Any, ignore: int | None = None) -> tuple[float, float] | None:
        if type(array).__name__ not in _CONCRETE:
            return None
        values = np.asarray(array)
        if ignore is not None:
            values = values[values != ignore]
        return (float(values.min()), float(values.max())) if values.size else None


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


def named_inputs(
    class_name: str, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, whichever of the three forms it took, as arrays.

    The first argument may be one array, a list or tuple of arrays in the order of the signature, or a mapping;
    the others follow by position or keyword.
    """
    args, passed = list(args), dict(kwargs)
    first = args.pop(0) if args else passed.pop(names[0], None)
    rest = list(names[1:])
    if isinstance(first, Mapping):
        packed = dict(first)
    elif isinstance(first, list | tuple) and any(_is_array(item) and item.ndim > 0 for item in first):
        if len(first) > len(names):
            raise InputError(
                f"{class_name}: a list of {len(first)} inputs were passed, there are {len(names)}: {list(names)}."
            )
        packed = dict(zip(names, first, strict=False))
    else:
        packed = {names[0]: first}
    if len(args) > len(rest):
        raise InputError(
            f"{class_name}: {len(args) + 1} positional inputs were passed, there are {len(names)}: {list(names)}."
        )
    for source in (dict(zip(rest, args, strict=False)), passed):
        if twice := [n for n in source if source[n] is not None and packed.get(n) is not None]:
            raise InputError(f"{class_name}: {', '.join(twice)} passed twice.")
        packed |= {n: value for n, value in source.items() if value is not None or n not in packed}
    if unknown := [n for n in packed if n not in names]:
        raise InputError(
            f"{class_name} knows no argument {', '.join(map(repr, unknown))}; it takes {', '.join(names)}."
        )
    return {n: _as_array(class_name, n, value) for n, value in packed.items()}


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not np.isscalar(value)


_TOKENIZE = "Tokenize it first, for fit by mobilebert_tf.text_dataset or mobilebert_tf.TextPreprocessor."
_OPTIONS = ("output_attentions", "output_hidden_states", "return_dict", "training")


def _as_array(class_name: str, name: str, value: Any) -> Any:
    if value is None or name in _OPTIONS:
        return value
    if isinstance(value, str):
        raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
    if type(value).__name__ in ("RaggedTensor", "SparseTensor"):
        raise InputError(f"{class_name}: {name} must be an array of numbers, got a {type(value).__name__}.")
    if _is_array(value) and not isinstance(value, np.ndarray):
        if "string" in str(value.dtype):
            raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind in "US":
        raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
    if array.dtype == object:
        raise InputError(
            f"{class_name}: {name} must be an array, got {type(value).__name__} that makes none. Lists of different "
            "lengths must be padded first."
        )
    return array


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


def attention_bias(attention_mask: Any, dtype: str) -> Any:
    """What is added to the attention scores (B, 1 or N, S or 1, S): 0 keeps a token, the lowest number drops it.

    Takes (B, S), (B, S, S) or (B, 1 or N, S, S) of ones and zeros; a 4-D mask of floats is passed on as it is.
    The lowest finite number rather than minus infinity keeps a row without any token finite and uniform.
    """
    kind = keras.backend.standardize_dtype(attention_mask.dtype)
    if len(attention_mask.shape) == 2:
        attention_mask = attention_mask[:, None, None, :]
    elif len(attention_mask.shape) == 3:
        attention_mask = attention_mask[:, None]
    elif "float" in kind:
        return ops.cast(attention_mask, dtype)
    keep = attention_mask if kind == "bool" else attention_mask >= 1
    return ops.where(keep, ops.zeros((), dtype), ops.full((), float(np.finfo(dtype).min), dtype))


def head_masks(head_mask: Any, layers: int, dtype: str) -> list[Any]:
    """One factor (1, N, 1, 1) a layer from a mask of (N,) or (L, N)."""
    if head_mask is None:
        return [None] * layers
    head_mask = ops.cast(head_mask, dtype)
    rows = [head_mask] * layers if len(head_mask.shape) == 1 else [head_mask[i] for i in range(layers)]
    return [row[None, :, None, None] for row in rows]

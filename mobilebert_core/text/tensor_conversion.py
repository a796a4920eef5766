"""Nested lists to the tensors of one framework and back; the framework is imported only when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BackendMissingError, TokenizerError


def is_ragged(value: Any) -> bool:
    """True for nested lists whose rows differ in length."""
    if not isinstance(value, list | tuple) or not value or not isinstance(value[0], list | tuple):
        return False
    if any(not isinstance(row, list | tuple) or len(row) != len(value[0]) for row in value):
        return True
    return any(is_ragged(row) for row in value) if value[0] and isinstance(value[0][0], list | tuple) else False


def as_tensor(value: Any, kind: Any) -> Any:
    """`value` as a NumPy array ("np"), PyTorch tensor ("pt") or TensorFlow tensor ("tf", int32 like its models)."""
    kind = getattr(kind, "value", kind)
    if kind not in ("np", "pt", "tf"):
        raise TokenizerError(f"return_tensors: wanted 'np', 'pt' or 'tf', got {kind!r}.")
    if tensor_kind(value) == kind:
        return value
    array = np.asarray(as_lists(value))
    if array.size == 0 and array.dtype == np.float64:  # an empty list says nothing about its type
        array = array.astype(np.int64)
    if kind == "np":
        return array
    try:
        if kind == "pt":
            import torch

            return torch.from_numpy(np.ascontiguousarray(array))
        import tensorflow as tf
    except ImportError as error:
        package = "torch" if kind == "pt" else "tensorflow"
        raise BackendMissingError(
            f"return_tensors={kind!r}: wanted the package {package}, which is not installed ({error})."
            f" Install mobilebert[{'torch' if kind == 'pt' else 'tf'}] or pass return_tensors='np'."
        ) from error
    return tf.constant(array, dtype=tf.int32) if array.dtype == np.int64 else tf.constant(array)


def tensor_kind(value: Any) -> str | None:
    """The `return_tensors` ("np", "pt", "tf") that an array or tensor is of, else None."""
    if isinstance(value, np.ndarray | np.generic):
        return "np"
    module = type(value).__module__.partition(".")[0]
    return {"torch": "pt", "tensorflow": "tf"}.get(module)


def as_lists(value: Any) -> Any:
    """Arrays and tensors as (nested) Python lists or numbers; what holds none is returned unchanged."""
    if isinstance(value, list | tuple):
        if value and (hasattr(value[0], "shape") or (isinstance(value[0], list | tuple) and value[0])):
            return [as_lists(item) for item in value]
        return value
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):  # a TensorFlow tensor
        value = value.numpy()
    return value.tolist() if hasattr(value, "tolist") else value

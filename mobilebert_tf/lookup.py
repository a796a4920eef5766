"""Rows of tables by ids."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from .inputs import as_indices


def rows_of(table: keras.layers.Embedding, ids: Any) -> Any:
    """The rows of a table by whole numbers of any type: (...) -> (..., size).

    An id outside it is an error of the look-up, or NaN where the look-up knows none: on JAX, and in what TensorFlow
    compiles by XLA, which would take the nearest row.
    """
    ids = as_indices(ids, table.input_dim)
    rows = table(ids)
    if not _compiled_by_xla():
        return rows
    inside = ops.logical_and(ids >= 0, ids < table.input_dim)
    return ops.where(ops.expand_dims(inside, -1), rows, ops.full((), np.nan, rows.dtype))


def _compiled_by_xla() -> bool:
    """Whether TensorFlow records a function with `jit_compile=True`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext  # not exported

    return not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())

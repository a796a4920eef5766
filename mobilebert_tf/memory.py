"""Memory of models that nobody uses any more, which would be freed late or never.

A Keras model refers to itself, so that it goes only when Python looks for such circles, which it does by the number of
its objects: a model of 100 MB has few.

TensorFlow keeps what it made to run an operation, by the names of the variables in it: some 40 kB for each variable
that there ever was.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np

_LIMIT = 1 << 26  # bytes of weights that may wait; small models are left to Python

_loaded: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def collect_unused() -> None:
    """Collects garbage if loaded models hold much; those in use stay."""
    if sum(_loaded.values()) > _LIMIT:
        gc.collect()


def loaded(model: Any) -> None:
    """Notes a model that was loaded."""
    _loaded[model] = sum(int(np.prod(v.shape)) * np.dtype("float32").itemsize for v in model.weights)


def forget_operations() -> None:
    """Has TensorFlow forget the operations that made variables; it makes anew what it needs again."""
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.eager import context  # as `keras.utils.clear_session`, which forgets much else

        context.context().clear_kernel_cache()

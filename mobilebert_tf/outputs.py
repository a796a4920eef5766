"""Makes Keras's tree functions take the outputs apart: fit, predict and Functional models need it.

Twin: mobilebert_torch/outputs.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import optree

from mobilebert_core.outputs import (
    ModelOutput,
    flatten_sorted,
    register_outputs,
    register_with_pytree,
    unflatten_output,
)

from . import keras_on_torch


def _register_optree(cls: type[ModelOutput]) -> None:
    def flatten(output: Any) -> tuple[tuple[Any, ...], tuple[str, ...], list[str]]:
        return (*flatten_sorted(output), sorted(output))

    def unflatten(keys: Any, children: Any) -> Any:
        return unflatten_output(cls, keys, children)

    optree.register_pytree_node(cls, flatten, unflatten, namespace="keras")


def _register_jax(cls: type[ModelOutput]) -> None:
    import jax

    jax.tree_util.register_pytree_node(
        cls, flatten_sorted, lambda keys, children: unflatten_output(cls, keys, children)
    )


def register() -> None:
    """With optree, which Keras uses on every backend, and with the backend's own trees where there are any."""
    register_outputs("optree", _register_optree)
    if keras.backend.backend() == "jax":
        register_outputs("jax", _register_jax)
    if keras.backend.backend() == "torch":
        register_outputs("torch", partial(register_with_pytree, keras_on_torch.tree()))

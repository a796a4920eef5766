"""Makes PyTorch take the outputs apart: export, compile, tracing, DDP and func_call need it.

Twin: mobilebert_tf/outputs.py.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.utils import _pytree

from mobilebert_core.outputs import register_outputs, register_with_pytree


def register() -> None:
    """With PyTorch's own trees."""
    register_outputs("torch", partial(register_with_pytree, _pytree))
    register_outputs("torch.jit", torch.jit.ignore)  # a trace would compile the class rather than see that it is a dict

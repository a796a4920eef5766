"""Whether PyTorch does more with a tensor than compute: transforms of torch.func, forward mode, dispatch modes.

PyTorch says so by private names alone, which stand here and nowhere else. They are asked at every product: no function
of ours is around them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

# Whether a tensor stands for others, as in `torch.func.vmap`: its values cannot be read.
is_transformed: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor

# The `TorchDispatchMode` that sees every operator, or None.
current_dispatch_mode: Callable[[], Any] = _python_dispatch._get_current_dispatch_mode


def in_forward_mode() -> bool:
    """Whether derivatives are computed along with the values, as by torch.func.jvp, which not every operator knows."""
    return bool(forward_ad._current_level >= 0)

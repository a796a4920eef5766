"""LAMB, the optimizer of large batches: Adam whose step for a matrix is as long as a share of the matrix.

Twin: mobilebert_tf/staged.py. Source: arXiv 1904.00962, algorithm 2. As in the released code of MobileBERT, biases and
norms neither decay nor are their steps rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lamb(torch.optim.Optimizer):
    """LAMB with the state of AdamW: `step`, `exp_avg` and `exp_avg_sq` of each weight.

    A group whose `rescaled` is False takes Adam's steps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        rescaled: bool = True,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rescaled": rescaled}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; returns what `closure`, which computes the gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, (beta_1, beta_2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step = int(state["step"])
        first, second = state["exp_avg"], state["exp_avg_sq"]
        first.mul_(beta_1).add_(gradient, alpha=1 - beta_1)
        second.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        size = (second / (1 - beta_2**step)).sqrt_().add_(group["eps"])
        update = first / (1 - beta_1**step) / size
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
        ratio: Any = 1.0
        if group["rescaled"]:
            own, length = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
            ratio = torch.where((own > 0) & (length > 0), own / length, torch.ones_like(own))
        parameter.sub_(update * (ratio * group["lr"]))

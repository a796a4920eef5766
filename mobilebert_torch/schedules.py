"""Learning rates over a training, under transformers' names: factors for the learning rate of each step."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def _warmed_up(step: int, warmup: int) -> float | None:
    return step / max(1, warmup) if step < warmup else None


def _linear(step: int, *, warmup: int, total: int) -> float:
    rising = _warmed_up(step, warmup)
    return max(0.0, (total - step) / max(1, total - warmup)) if rising is None else rising


def _cosine(step: int, *, warmup: int, total: int, cycles: float) -> float:
    rising = _warmed_up(step, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress))) if rising is None else rising


def _constant(step: int, *, warmup: int) -> float:
    rising = _warmed_up(step, warmup)
    return 1.0 if rising is None else rising


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """From 0 up to the optimizer's learning rate in `num_warmup_steps`, then down to 0 at `num_training_steps`."""
    return LambdaLR(optimizer, partial(_linear, warmup=num_warmup_steps, total=num_training_steps), last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """As the linear one, but down along a cosine of `num_cycles` waves."""
    factor = partial(_cosine, warmup=num_warmup_steps, total=num_training_steps, cycles=num_cycles)
    return LambdaLR(optimizer, factor, last_epoch)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """From 0 up to the optimizer's learning rate in `num_warmup_steps`, then that."""
    return LambdaLR(optimizer, partial(_constant, warmup=num_warmup_steps), last_epoch)

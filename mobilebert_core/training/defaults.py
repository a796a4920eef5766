"""Which recipe a training has where its user names none: by the size of the model and by what it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..heads import HEADS
from ..weights import parameter_count, weight_table
from .order import epoch_batches
from .ranks import ALONE, Ranks, is_in_blocks, lengths_of, rank_batch
from .recipe import Recipe
from .trainer import TrainerBase

# Measured on Banking77 (77 labels, 9,000 rows) with models of 2M parameters: the published 5e-5 and 5 epochs end at an
# accuracy of 0.50, and 0.35 from random weights; 5e-4 and 12 epochs at 0.89 and 0.87.
SMALL = 10_000_000  # parameters; the published models have 24.6M and more
_SMALL_RATE, _RANDOM_RATE, _MORE_EPOCHS = 5e-4, 2e-4, 12

SWEEP = "sweep"  # in place of a learning rate
RATES = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
_SWEEP_STEPS = 100  # for each rate, at most

_FEW_STEPS, _LEAST_STEPS = 4, 20  # of a curve that says whether its loss fell, and whether it was still falling


def default_recipe(
    recipe: Recipe, head: str, config: MobileBertConfig | None, random_weights: bool
) -> tuple[Recipe, str]:
    """The defaults of a task for a model, and the reason in words; the task's own where the model is not known."""
    if config is None:
        return recipe, "of the task"
    count = parameter_count(weight_table(config, HEADS[head]))
    if count >= SMALL and not random_weights:
        return recipe, f"for a pretrained model of {count / 1e6:,.1f}M parameters"
    rate = max(recipe.learning_rate, _SMALL_RATE if count < SMALL else _RANDOM_RATE)
    start = "random weights" if random_weights else "a checkpoint"
    size = "a small model" if count < SMALL else "a model"
    return (
        recipe.replace(learning_rate=rate, epochs=max(recipe.epochs, _MORE_EPOCHS)),
        f"for {size} of {count / 1e6:,.1f}M parameters that starts from {start}",
    )


def swept_losses(
    start: Callable[[], TrainerBase],
    rows: Sequence[Any],
    batch: Callable[..., dict[str, np.ndarray]],
    recipe: Recipe,
    ranks: Ranks = ALONE,
) -> dict[float, float]:
    """The loss that a short training with each of `RATES` ends at; infinite where it is not a number.

    Args:
        start: makes the trainer anew, the same each time.
    """
    steps, each = min(recipe.steps(len(rows)), _SWEEP_STEPS), recipe.steps_per_epoch(len(rows))
    found: dict[float, float] = {}
    lengths = lengths_of(rows)
    for rate in RATES:
        trainer, losses, tried = start(), [], recipe.replace(learning_rate=rate)
        groups = epoch_batches(lengths, recipe.batch_size, recipe.seed, 0, is_in_blocks(rows))
        for step in range(steps):
            rng, first = np.random.default_rng([recipe.seed, 0, step]), step % each * recipe.accumulate
            chosen = groups[first : first + recipe.accumulate]
            own = [rank_batch(batch, rows, lengths, places, rng, ranks) for places in chosen]
            losses.append(trainer.step(own, tried.learning_rate_at(step, steps)))
            if not np.isfinite(losses[-1]):
                break
        last = losses[-max(1, steps // 4) :]
        found[rate] = float(np.mean(last)) if np.isfinite(losses[-1]) else float("inf")
    return found


def curve_notes(losses: Sequence[float], sweeps: bool = True) -> list[str]:
    """What a curve says of its training: that the loss never or hardly fell, or was still falling at the end.

    Args:
        sweeps: whether the training can try several learning rates.
    """
    tries = " (--learning-rate sweep tries several)" * sweeps
    if len(losses) < _FEW_STEPS:
        return []
    tenth = max(len(losses) // 10, 1)
    first, before, last = (
        float(np.mean(part)) for part in (losses[:tenth], losses[-4 * tenth : -2 * tenth], losses[-2 * tenth :])
    )
    if last > 0.95 * first:
        how = f"{'hardly' if last < first else 'never'} fell ({first:.3g} at first, {last:.3g} at the end)"
        return [f"the loss {how}: try another learning rate{tries}"]
    if len(losses) >= _LEAST_STEPS and before - last > 0.1 * (first - last) and last > 0.25 * first:
        return [
            f"the loss was still falling at the end ({before:.3g}, then {last:.3g}): more epochs or a higher learning "
            f"rate may do better{tries}"
        ]
    return []

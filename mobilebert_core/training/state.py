"""What a training keeps beside the weights, under names that no framework owns.

Moments lie under the names and in the orientation of the table of weights, so that a training begun on one backend
goes on on the other.
"""

from __future__ import annotations

from ..errors import ConfigError

STEPS = "steps"  # optimizer steps taken
FIRST = "first_moment."  # Adam's running mean of the gradient, and then of its square, by weight
SECOND = "second_moment."
AGE = "age."  # steps since a weight's moments began, where that was later than the training
EXTRA = "objective."  # weights of the objective itself, which no model has
GENERATOR = "generator."  # random numbers and loss scale, which mean something to one framework alone

SAVE_EVERY = 500  # steps between two saved states, where nothing else is asked for
PRECISIONS = ("float32", "bfloat16", "float16", "float64")


def check_precision(precision: str) -> None:
    """Raises ConfigError for a name that no trainer knows."""
    if precision not in PRECISIONS:
        raise ConfigError(f"Trainer: precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")

"""What decides how a model is trained, with the published values as defaults.

Sources: arXiv 2004.02984, section 4.3 (learning rates of 1e-5 to 1e-4 and 2 to 10 epochs: larger and more than
BERT's), the README of the released code (SQuAD: 10 % warm-up, batches of 32) and the TensorFlow Model Garden (SQuAD:
8e-5, about 7 epochs, AdamW with gradients clipped at 1). The released code drops 10 % of the classifier's input.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError

_HUGE = 10**308  # whole numbers may be larger than any float

OPTIMIZERS = ("adamw", "lamb")


def is_number(value: object, whole: bool = False) -> bool:
    """Whether a value is a number of Python's own, and no truth value."""
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training that decide its numbers.

    Raises:
        ConfigError: for a value that cannot be.

    Attributes:
        learning_rate: the highest, reached after the warm-up; then it falls in a straight line to 0.
        batch_size: rows of one batch.
        accumulate: batches whose mean gradient makes one step.
        epochs: how often all rows are read.
        max_steps: steps to stop after, where `epochs` would take more.
        warmup: share of the steps during which the learning rate rises.
        weight_decay: of matrices and embeddings; biases and norms do not decay.
        clip_norm: the largest norm of all gradients together; None does not clip.
        beta_1, beta_2, epsilon: of the optimizer's moments.
        classifier_dropout: share of the classifier's input that is dropped.
        seed: of newly initialized weights, the order of the rows, masks and dropout.
        optimizer: "adamw", or "lamb" for batches of thousands of rows (arXiv 1904.00962), with rates about 1e-3.
    """

    learning_rate: float = 8e-5
    batch_size: int = 32
    accumulate: int = 1
    epochs: int = 5
    max_steps: int | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    classifier_dropout: float = 0.1
    seed: int = 0
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "accumulate": 1, "epochs": 1, "max_steps": 1, "seed": 0, "weight_decay": 0}
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"Recipe: optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}.")
        for name, value in vars(self).items():
            if name == "optimizer":
                continue
            if value is None and name in ("max_steps", "clip_norm"):
                continue
            whole = name in ("batch_size", "accumulate", "epochs", "max_steps", "seed")
            bound = least.get(name)
            good = is_number(value, whole) and -_HUGE < value < _HUGE
            if bound is None:  # fractions lie from 0 to 1, the others are above 0
                fraction = name in ("warmup", "classifier_dropout", "beta_1", "beta_2")
                good = good and (0 <= value < 1 if fraction else value > 0)
                wanted = "from 0 to below 1" if fraction else "above 0"
            else:
                good = good and value >= bound
                wanted = f"of at least {bound}"
            if whole and isinstance(value, int) and value >= (limit := 2**32 if name == "seed" else 2**63):
                good, wanted = False, f"below {limit}"
            if not good:
                raise ConfigError(f"Recipe: {name} must be a {'whole ' * whole}number {wanted}, got {value!r}.")

    def replace(self, **changes: Any) -> Recipe:
        """This recipe with other values; None keeps what is there."""
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def steps(self, rows: int) -> int:
        """How many steps a training on so many rows takes."""
        whole = self.epochs * self.steps_per_epoch(rows)
        return whole if self.max_steps is None else min(whole, self.max_steps)

    def steps_per_epoch(self, rows: int) -> int:
        """How many steps read all of so many rows once."""
        return math.ceil(math.ceil(rows / self.batch_size) / self.accumulate)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of a training of so many; as float32, which Keras keeps."""
        warm = self.warmup * steps
        share = (step + 1) / warm if step + 1 < warm else (steps - step) / max(steps - warm, 1)
        return float(np.float32(self.learning_rate * min(1.0, share)))

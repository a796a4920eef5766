"""The recipe of one training: the defaults for its model, what the user says instead, and a swept learning rate."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import MobileBertError, TrainingError
from mobilebert_core.files import read_json
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.training.defaults import SWEEP, default_recipe
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.run_directory import SETTINGS_FILE
from mobilebert_core.training.tasks.labelled_task import LabelledTask
from mobilebert_core.training.tasks.training_task import TrainingTask

from .random_start import config_of, has_no_weights, random_start_notes


@dataclass
class RecipeChoice:
    """A recipe, and what is said of it.

    Attributes:
        recipe: the values; the learning rate is a default until it is swept.
        notes: why the defaults are what they are.
        warnings: what the user should know before the first step.
        sweep: None where the learning rate is not to be swept, else the loss by each rate; empty before.
    """

    recipe: Recipe
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sweep: dict[str, float] | None = None

    @classmethod
    def of(
        cls,
        kind: type[TrainingTask],
        model: str,
        random_weights: bool,
        recipe: Recipe | None,
        changes: Mapping[str, Any],
    ) -> RecipeChoice:
        """The recipe passed, or else the defaults for the model, with `changes`; the model is not loaded."""
        changes = {name: value for name, value in changes.items() if value is not None}
        sweep = changes.get("learning_rate") == SWEEP
        if sweep:
            del changes["learning_rate"]
        notes: list[str] = []
        if recipe is None:
            recipe = kind.recipe
            if issubclass(kind, LabelledTask):  # others learn from many texts, whatever the model
                recipe, reason = default_recipe(kind.recipe, kind.head, _config(model), random_weights)
                names = [n for n in ("learning_rate", "epochs") if n not in changes and not (sweep and n != "epochs")]
                said = " and ".join(f"{name} {getattr(recipe, name):g}" for name in names)
                notes = [f"defaults {reason}: {said}".replace("_", " ")] if names else []
        warnings = random_start_notes(model) if issubclass(kind, LabelledTask) else []
        return cls(recipe.replace(**changes), notes, warnings, {} if sweep else None)

    def take_up(self, output: Path) -> None:
        """The sweep of an earlier run, where there was one, so that a resumed training goes on with its rate."""
        try:
            before = read_json(output / SETTINGS_FILE)["settings"]
            if self.sweep is not None and isinstance(before["sweep"], dict) and before["sweep"]:
                self.recipe = self.recipe.replace(learning_rate=before["recipe"]["learning_rate"])
                self.sweep = before["sweep"]
        except (MobileBertError, KeyError, TypeError):
            return  # the check of the settings says what is wrong

    def choose(self, losses: Mapping[float, float]) -> None:
        """Takes the rate whose loss is least.

        Raises:
            TrainingError: when none has a loss that is a number.
        """
        best = min(losses, key=lambda rate: losses[rate])
        if not math.isfinite(losses[best]):
            raise TrainingError(
                f"train: the loss is no number at any learning rate tried ({', '.join(map(str, losses))})."
            )
        self.sweep = {f"{rate:g}": loss for rate, loss in losses.items() if math.isfinite(loss)}
        self.recipe = self.recipe.replace(learning_rate=best)

    def settings(self) -> dict[str, Any]:
        """As they stand among the settings of a training."""
        recipe = asdict(self.recipe)
        if recipe["optimizer"] == Recipe.optimizer:  # so that trainings of earlier versions go on
            del recipe["optimizer"]
        return {"recipe": recipe, "sweep": self.sweep}

    def said(self) -> list[str]:
        """Notes for the user and the card."""
        if not self.sweep:
            return [*self.warnings, *self.notes]
        tried = ", ".join(f"{rate}: {loss:.3g}" for rate, loss in self.sweep.items())
        return [
            *self.warnings,
            *self.notes,
            f"learning rate {self.recipe.learning_rate:g} by a sweep (loss of short trainings: {tried})",
        ]


def _config(model: str) -> MobileBertConfig | None:
    """The configuration of a preset, a JSON file or a checkpoint; None where loading it will say what is wrong."""
    try:
        if has_no_weights(model):
            return config_of(model)
        return open_checkpoint(resolve(model, config=True, weights=True)).config()
    except MobileBertError:
        return None


@contextmanager
def said_before() -> Iterator[None]:
    """While it is entered, what loading a model has to say is not said: it was said when the model was loaded first."""
    logger = logging.getLogger("mobilebert")

    def drop(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)

"""The options of a training that `mobilebert train`, `pretrain` and `distill` share: its recipe, and where it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mobilebert_core.training.recipe import OPTIMIZERS, Recipe
from mobilebert_core.training.state import PRECISIONS, SAVE_EVERY

from .arguments import DEVICE_HELP, at_least_one, config_field

# Fields of the recipe with their help.
RECIPE_HELP = {
    "learning_rate": "the highest, after the warm-up",
    "batch_size": "rows of a batch",
    "accumulate": "batches of a step",
    "epochs": "how often the rows are read",
    "max_steps": "stop after so many steps, if the epochs have more",
    "warmup": "share of the steps during which the learning rate rises",
    "optimizer": "lamb is for batches of thousands of rows",
    "weight_decay": "of matrices and embeddings",
    "clip_norm": "largest norm of all gradients together",
    "classifier_dropout": "share of the classifier's input that is dropped",
    "seed": "of newly initialized weights, order, masks and dropout",
}


def add_recipe(
    group: argparse._ArgumentGroup,
    recipe: Recipe,
    notes: Mapping[str, str],
    defaults: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    kinds: Mapping[str, Callable[[str], Any]] | None = None,
) -> None:
    """Adds the fields of a recipe, one option each, named `recipe_FIELD`.

    Args:
        recipe: the defaults that the help shows; an option that is not passed is None.
        notes: by field, what the help says besides.
        defaults: by field, what it says of the default besides.
        without: fields that are left out.
        kinds: by field, what reads it, in place of a number's type.
    """
    defaults, kinds = defaults or {}, kinds or {}
    for name in (name for name in RECIPE_HELP if name not in without):
        default = getattr(recipe, name)
        shown = "" if default is None else default if isinstance(default, str) else f"{default:g}"
        help = "; ".join(filter(None, (RECIPE_HELP[name], notes.get(name))))
        help += f" (default {shown}{defaults.get(name, '')})" if shown else ""
        whole = isinstance(default, int) or name == "max_steps"
        settings: dict[str, Any] = {"type": kinds.get(name, int if whole else float), "metavar": "N" if whole else "X"}
        if name == "optimizer":
            settings = {"choices": OPTIMIZERS}
        group.add_argument("--" + name.replace("_", "-"), dest=f"recipe_{name}", help=help, **settings)


def recipe_changes(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of the recipe by name; None for those that were not passed."""
    return {name: getattr(options, f"recipe_{name}", None) for name in RECIPE_HELP}


def add_fields(group: argparse._ArgumentGroup, whose: str) -> None:
    """Adds --set."""
    group.add_argument("--set", nargs="+", action="extend", default=[], type=config_field, metavar="FIELD=VALUE",
                       dest="fields",
                       help=f"fields of {whose} configuration, such as attention_probs_dropout_prob=0")  # fmt: skip


def add_machine(group: argparse._ArgumentGroup) -> None:
    """Adds how numbers are kept, where they are computed, and how often a state is saved."""
    group.add_argument("--precision", choices=PRECISIONS, default="float32", help="default float32")
    group.add_argument("--device", help=DEVICE_HELP)
    group.add_argument("--save-every", type=at_least_one, default=SAVE_EVERY, metavar="N",
                       help=f"steps between states to resume from (default {SAVE_EVERY})")  # fmt: skip


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Adds --resume, and what an interrupted command says about it."""
    parser.add_argument("--resume", action="store_true", help="go on with the training in the output directory")
    parser.set_defaults(after_interruption="; the same command with --resume goes on")

"""Default recipes by size and start of a model, what curves say, and learning rates that are swept."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert.recipe_choice import RecipeChoice
from mobilebert_core import DEMO_MODEL, ConfigError, MobileBertConfig
from mobilebert_core.errors import TrainingError
from mobilebert_core.training.defaults import RATES, curve_notes, default_recipe, swept_losses
from mobilebert_core.training.evaluation import Evaluation
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.tasks.table import training_task_named
from tests.core.data_files import answered, made, read, squad
from tests.tiny import tiny_config

TEXTS = training_task_named("text-classification")


@pytest.mark.parametrize(
    ("config", "random_weights", "wanted", "said"),
    [
        (MobileBertConfig(), False, (5e-5, 5), "for a pretrained model of 24.8M parameters"),
        (MobileBertConfig(), True, (2e-4, 12), "for a model of 24.8M parameters that starts from random weights"),
        (tiny_config(), False, (5e-4, 12), "for a small model of 0.0M parameters that starts from a checkpoint"),
        (tiny_config(), True, (5e-4, 12), "for a small model of 0.0M parameters that starts from random weights"),
        (None, False, (5e-5, 5), "of the task"),
    ],
)
def test_defaults_by_size_and_start(config, random_weights, wanted, said):
    recipe, reason = default_recipe(TEXTS.recipe, TEXTS.head, config, random_weights)
    assert (recipe.learning_rate, recipe.epochs) == wanted and reason == said


def test_what_the_user_says_is_no_default():
    choice = RecipeChoice.of(TEXTS, str(DEMO_MODEL), False, None, {"learning_rate": 1e-3, "epochs": None, "seed": 3})
    assert (choice.recipe.learning_rate, choice.recipe.epochs, choice.recipe.seed) == (1e-3, 12, 3)
    (note,) = choice.said()
    assert note == "defaults for a small model of 2.1M parameters that starts from a checkpoint: epochs 12"
    whole = RecipeChoice.of(TEXTS, str(DEMO_MODEL), False, Recipe(epochs=2), {})
    assert whole.recipe == Recipe(epochs=2) and whole.said() == []
    words = training_task_named("fill-mask")
    assert RecipeChoice.of(words, str(DEMO_MODEL), False, None, {}).recipe == words.recipe
    with pytest.raises(ConfigError, match="epochs must be"):
        RecipeChoice.of(TEXTS, str(DEMO_MODEL), False, None, {"epochs": 0})


def test_what_a_curve_says():
    steps = np.arange(200)
    assert curve_notes(4 * np.exp(-steps / 20)) == []
    assert "was still falling at the end" in curve_notes(4 - steps / 100)[0]
    assert "never fell" in curve_notes(np.full(200, 4.3))[0]
    assert "never fell" in curve_notes(4 + steps / 100)[0]
    assert curve_notes(4 - np.arange(10) / 5) == []  # too short to say that it was still falling
    assert "never fell (4.3 at first, 4.3 at the end)" in curve_notes(np.full(4, 4.3))[0]
    assert "hardly fell (4.3 at first, 4.2 at the end)" in curve_notes([4.3, 4.3, 4.2, 4.2])[0]
    assert curve_notes([4.3, 4.3, 4.3]) == []
    for losses in (np.full(200, 4.3), 4 - steps / 100):
        assert "sweep" in curve_notes(losses)[0] and "sweep" not in curve_notes(losses, sweeps=False)[0]


@pytest.mark.parametrize(
    ("task", "name", "content", "metric", "blind"),
    [
        ("text-classification", "a.csv", "text,label\na,x\nb,x\nc,x\nd,y\n", "accuracy", 0.75),
        ("text-classification", "a.jsonl", [{"text": "a", "labels": x} for x in (["x"], ["x", "y"], [], ["x"])],
         "f1_micro", 0.75),  # of x: 3 of 4 right, 3 of 4 found; of both: 4 of 8, 4 of 4
        ("text-classification", "a.csv", "text,label\na,0.5\nb,0.7\n", "pearson", 0),
        ("token-classification", "a.conll", "a O\nb B-x\n", "f1", 0),
        ("token-classification", "a.conll", "a NN\nb VB\nc NN\nd NN\n", "accuracy", 0.75),
        ("question-answering", "a.json", squad(answered("Paris", 32), {"answers": []}), "f1", 50),
        ("multiple-choice", "a.jsonl", [{"text": "a", "choices": ["b", "c"], "label": i} for i in (0, 1, 1, 1)],
         "accuracy", 0.75),
    ],
)  # fmt: skip
def test_what_the_best_score_says(task, name, content, metric, blind, tmp_path):
    """Always the same answer has the score `blind`: who has little more has learned little."""
    examples = read(tmp_path, task, name, content)
    task = made(examples, task, tmp_path)
    evaluation = Evaluation(None, task, examples, task.features(examples), 0, False)
    (said,) = evaluation.notes({metric: blind + 0.01})
    assert f"always the same answer has {blind:.4g}: little was learned" in said
    assert evaluation.notes({metric: blind + 0.1 * (task.highest - blind)}) == []


def test_one_label_alone_says_nothing(tmp_path):
    examples = read(tmp_path, "text-classification", "a.csv", "text,label\na,x\nb,y\n")
    task = made(examples, "text-classification", tmp_path)
    dev = read(tmp_path, "text-classification", "dev.csv", "text,label\na,x\nb,x\n")
    assert Evaluation(None, task, dev, task.features(dev), 0, False).notes({"accuracy": 1.0}) == []


class Parabola:
    """A trainer whose loss is that of a weight which moves by the learning rate: far too fast above 4e-4."""

    def __init__(self):
        self.weight = 1.0

    def step(self, batches, rate):
        self.weight -= rate * 5e3 * self.weight
        return self.weight**2


class Rows:
    length = 3


def test_the_rate_with_the_least_loss_is_taken():
    losses = swept_losses(Parabola, [Rows()] * 32, lambda rows, rng: {}, Recipe(batch_size=2, epochs=3))
    assert list(losses) == list(RATES)
    choice = RecipeChoice.of(TEXTS, str(DEMO_MODEL), False, None, {"learning_rate": "sweep"})
    assert choice.sweep == {}
    choice.choose(losses)
    assert choice.recipe.learning_rate == 2e-4 == min(losses, key=losses.get)
    assert choice.settings()["sweep"]["0.0002"] == losses[2e-4] and "by a sweep" in choice.said()[-1]
    with pytest.raises(TrainingError, match="no number at any learning rate"):
        choice.choose(dict.fromkeys(RATES, float("inf")))


def test_a_rate_that_ends_in_no_number_is_not_taken():
    class Broken(Parabola):
        def step(self, batches, rate):
            return float("nan") if rate > 1e-4 else super().step(batches, rate)

    losses = swept_losses(Broken, [Rows()] * 32, lambda rows, rng: {}, Recipe(batch_size=2, epochs=3))
    assert losses[2e-4] == losses[1e-3] == float("inf") and np.isfinite(losses[1e-4])


def test_a_sweep_takes_as_many_batches_a_step_as_the_training():
    taken = []

    class Counting(Parabola):
        def step(self, batches, rate):
            taken.append(len(batches))
            return super().step(batches, rate)

    swept_losses(Counting, [Rows()] * 7, lambda rows, rng: {}, Recipe(batch_size=2, epochs=2, accumulate=3))
    assert taken == [3, 1, 3, 1] * len(RATES)

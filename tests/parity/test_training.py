"""Training itself in both frameworks: equal seeds, equal data, equal curves."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.heads import HEADS
from mobilebert_core.training.recipe import Recipe
from mobilebert_tf.trainer import Trainer as KerasTrainer
from mobilebert_torch.trainer import Trainer as TorchTrainer
from tests.tiny import BRANCHES, tiny_batch, tiny_config

STEPS = 20
TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
TRAINED = [name for name, head in HEADS.items() if head.tasks]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}


def curve(trainer_class, head, config, recipe, precision="float64", accumulate=1):
    trainer = trainer_class.start(head, None, recipe, config=config.copy(), precision=precision)
    batches = [tiny_batch(config, head, seed=seed, length=7 + seed % 5) for seed in range(STEPS * accumulate)]
    losses = []
    for step in range(STEPS):
        group = batches[step * accumulate : (step + 1) * accumulate]
        losses.append(trainer.step(group, recipe.learning_rate_at(step, STEPS)))
    return np.array(losses), trainer


@pytest.mark.slow
# In float64 the arithmetic of every head shows; in float32 rounding, of one loss and of two.
@pytest.mark.parametrize(
    ("head", "precision"),
    [*((head, "float64") for head in TRAINED), ("SequenceClassification", "float32"), ("PreTraining", "float32")],
)
def test_equal_seeds_give_equal_curves(head, precision):
    config = tiny_config(**NO_DROPOUT)
    recipe = Recipe(learning_rate=3e-3, seed=7)
    ours, torch_trainer = curve(TorchTrainer, head, config, recipe, precision)
    theirs, keras_trainer = curve(KerasTrainer, head, config, recipe, precision)
    assert np.abs(theirs / ours - 1).max() < TOLERANCE[precision]
    assert np.ptp(ours) > 1e-3 * ours.mean()  # weights moved, or nothing was compared
    state, other = torch_trainer.state(), keras_trainer.state()
    assert state.keys() - other.keys() == {"generator.torch.0"}
    if precision == "float32":  # where many moments are sums of gradients that nearly cancel
        return
    for order in ("first", "second"):
        moments = {name: array for name, array in state.items() if name.startswith(order)}
        # The gradient of the key's bias is 0 but for rounding, which is compared with the others' size.
        floor = 1e-3 * np.median([np.abs(array).max() for array in moments.values()])
        for name, array in moments.items():
            scale = max(np.abs(array).max(), floor)
            assert np.abs(other[name] - array).max() <= 1e3 * TOLERANCE[precision] * scale, name


@pytest.mark.parametrize(
    "branch", ["pooler", "teacher", "no_bottleneck", "layer_norm", "gelu", "untied", "padding_invariant"]
)
def test_equal_curves_in_every_branch(branch):
    head = "PreTraining"
    config = tiny_config(**{**BRANCHES[branch], **NO_DROPOUT})
    recipe = Recipe(learning_rate=1e-3, seed=3)
    ours, _ = curve(TorchTrainer, head, config, recipe)
    theirs, _ = curve(KerasTrainer, head, config, recipe)
    assert np.abs(theirs / ours - 1).max() < TOLERANCE["float64"]


def test_gradients_of_several_batches_make_one_step():
    config = tiny_config(**NO_DROPOUT)
    recipe = Recipe(learning_rate=1e-3, clip_norm=None)
    ours, _ = curve(TorchTrainer, "TokenClassification", config, recipe, accumulate=2)
    theirs, _ = curve(KerasTrainer, "TokenClassification", config, recipe, accumulate=2)
    assert np.abs(theirs / ours - 1).max() < TOLERANCE["float64"]

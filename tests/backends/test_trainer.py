"""The trainers: going on exactly, precisions, and a training that changes its framework."""

from __future__ import annotations

import numpy as np
import pytest

from conversion.backends import FRAMEWORKS
from mobilebert_core import ConfigError
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.state import GENERATOR, SECOND, STEPS
from tests.tiny import tiny_batch, tiny_config

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
RECIPE = Recipe(learning_rate=2e-3, seed=5)
HEAD = "TokenClassification"


@pytest.fixture(params=FRAMEWORKS)
def trainer_class(request):
    return FRAMEWORKS[request.param].trainer("test")


def steps(trainer, first, last):
    config = trainer.config
    return [
        trainer.step([tiny_batch(config, HEAD, seed=s)], RECIPE.learning_rate_at(s, 20)) for s in range(first, last)
    ]


@pytest.mark.parametrize("precision", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_a_training_goes_on_bit_for_bit(trainer_class, tmp_path, precision):
    config = tiny_config(hidden_dropout_prob=0.2, classifier_dropout=0.3)
    whole = trainer_class.start(HEAD, None, RECIPE, config=config.copy(), precision=precision)
    losses = steps(whole, 0, 8)
    first = trainer_class.start(HEAD, None, RECIPE, config=config.copy(), precision=precision)
    assert steps(first, 0, 5) == losses[:5]
    first.save(tmp_path)
    state = first.state()
    second = trainer_class.start(HEAD, tmp_path, Recipe(learning_rate=2e-3, seed=99), precision=precision)
    second.restore(state)
    assert steps(second, 5, 8) == losses[5:]
    assert all(np.array_equal(whole.array(w), second.array(w)) for w in ("classifier.weight", "classifier.bias"))


@pytest.mark.slow
def test_steps_that_float16_leaves_out_are_not_counted(trainer_class):
    """An overflowing scale: weights, moments and the count of steps stay, so that going on is going on."""
    config = tiny_config(**NO_DROPOUT)
    first, other = (trainer_class.start(HEAD, None, RECIPE, config=config.copy(), precision="float16") for _ in "ab")
    scale = {f"{GENERATOR}scale": np.array([2.0**100, 0.0])}
    first.restore({**first.state(), **scale})
    steps(first, 0, 1)
    assert first.state()[STEPS].tolist() == [0]
    low = {f"{GENERATOR}scale": np.array([2.0**8, 0.0])}
    for trainer in (first, other):
        trainer.restore({**trainer.state(), **low})
    assert steps(first, 0, 3) == steps(other, 0, 3)
    assert first.state()[STEPS].tolist() == [3]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [("torch", "keras"), ("keras", "torch")])
def test_a_training_changes_its_framework(before, after, tmp_path):
    first_class, second_class = (FRAMEWORKS[name].trainer("test") for name in (before, after))
    config = tiny_config(**NO_DROPOUT)
    whole = steps(first_class.start(HEAD, None, RECIPE, config=config.copy(), precision="float64"), 0, 12)
    first = first_class.start(HEAD, None, RECIPE, config=config.copy(), precision="float64")
    steps(first, 0, 6)
    first.save(tmp_path)
    second = second_class.start(HEAD, tmp_path, RECIPE, precision="float64")
    second.restore(first.state())
    assert np.abs(np.array(steps(second, 6, 12)) / whole[6:] - 1).max() < 1e-8


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns(trainer_class, precision):
    config = tiny_config(**NO_DROPOUT)
    trainer = trainer_class.start(HEAD, None, Recipe(seed=1), config=config, precision=precision)
    batch = tiny_batch(config, HEAD)
    losses = [trainer.step([batch], 3e-3) for _ in range(15)]
    assert np.isfinite(losses).all() and losses[-1] < 0.9 * losses[0]
    outputs = trainer.run(batch)
    assert outputs["logits"].dtype == np.float32 and np.isfinite(outputs["logits"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_a_compiled_step_is_the_same(trainer_class):
    config = tiny_config(**NO_DROPOUT)
    plain, compiled = (
        steps(trainer_class.start(HEAD, None, RECIPE, config=config.copy(), compile=compile), 0, 3)
        for compile in (False, True)
    )
    assert np.allclose(plain, compiled, rtol=1e-5)


def test_global_random_numbers_are_left_alone(trainer_class):
    import torch

    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    trainer = trainer_class.start(HEAD, None, RECIPE, config=tiny_config(hidden_dropout_prob=0.5))
    steps(trainer, 0, 2)
    assert torch.equal(torch.rand(4), expected)


def test_a_precision_that_is_none(trainer_class):
    with pytest.raises(ConfigError, match="precision must be one of float32, bfloat16, float16, float64, got 'int8'"):
        trainer_class.start(HEAD, None, RECIPE, config=tiny_config(), precision="int8")


def twice(model, batch):
    outputs = model(**batch) if hasattr(model, "device") else model(batch, training=True)
    return 2.0 * outputs["loss"]


def test_the_objective_is_what_is_minimized(trainer_class):
    """Adam's first step is the same for any multiple of a gradient, its second moment is the multiple's square."""
    config = tiny_config(**NO_DROPOUT)
    recipe = Recipe(learning_rate=2e-3, seed=5, clip_norm=None)
    start = {"config": config, "precision": "float64"}
    plain = trainer_class.start(HEAD, None, recipe, **start)
    other = trainer_class.start(HEAD, None, recipe, **start, objective=twice)
    batch = tiny_batch(config, HEAD)
    assert other.step([batch], 1e-3) == pytest.approx(2 * plain.step([batch], 1e-3), rel=1e-12)
    name = "classifier.weight"
    first, second = plain.state()[SECOND + name], other.state()[SECOND + name]
    assert np.allclose(second, 4 * first, rtol=1e-9, atol=0) and first.any()


@pytest.mark.slow
def test_a_training_with_an_objective_goes_on_bit_for_bit(trainer_class, tmp_path):
    config = tiny_config(hidden_dropout_prob=0.2)
    whole = trainer_class.start(HEAD, None, RECIPE, config=config, objective=twice)
    losses = steps(whole, 0, 4)
    first = trainer_class.start(HEAD, None, RECIPE, config=config, objective=twice)
    steps(first, 0, 2)
    first.save(tmp_path)
    second = trainer_class.start(HEAD, tmp_path, RECIPE, objective=twice)
    second.restore(first.state())
    assert steps(second, 2, 4) == losses[2:]


def test_a_save_leaves_the_live_model_alone(trainer_class, tmp_path):
    trainer = trainer_class.start(HEAD, None, RECIPE, config=tiny_config(sparse_prediction=True))
    config, before = trainer.config, trainer.array("classifier.bias")
    weights = {w.name: trainer.array(w.name) for w in trainer.model.weight_table() if w.tied_to is None}
    other = config.copy(sparse_prediction=False)
    trainer.save(tmp_path, replace={"classifier.bias": before + 1}, config=other)
    assert trainer.config is config is trainer.model.config and config.sparse_prediction
    assert all(np.array_equal(array, trainer.array(name)) for name, array in weights.items())
    found = trainer_class.start(HEAD, tmp_path, RECIPE)
    assert not found.config.sparse_prediction and np.array_equal(found.array("classifier.bias"), before + 1)
    assert np.array_equal(found.array("classifier.weight"), weights["classifier.weight"])


def test_masks_of_the_first_steps_do_not_come_again(trainer_class):
    """Where a state has no random numbers of this framework: it was saved by the other one, or on another device."""
    trainer = trainer_class.start(HEAD, None, RECIPE, config=tiny_config(num_hidden_layers=1))
    first = trainer.state()
    known = {name for name in first if name.startswith(GENERATOR)}
    trainer.restore({**{name: first[name] for name in first.keys() - known}, STEPS: np.array([3])})
    assert known and all(not np.array_equal(trainer.state()[name], first[name]) for name in known)

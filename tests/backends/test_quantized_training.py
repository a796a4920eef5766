"""Quantization-aware training: both backends round the same, go on from a saved state, and save an ordinary model."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.quantization.integers import as_int8, weight_scales
from mobilebert_core.quantization.training import RANGE, ranges_in, with_ranges
from mobilebert_core.training.recipe import Recipe
from tests.backends.backend import BACKENDS
from tests.tiny import tiny_batch

RECIPE = Recipe(learning_rate=1e-3, classifier_dropout=0.0)
FIELDS = {"attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
ONE_BLOCK = {"num_hidden_layers": 1}
HEAD = "SequenceClassification"


def package(backend):
    return "mobilebert_torch" if backend.name == "torch" else "mobilebert_tf"


def trainer(backend, path, quantize="int8", precision="float64"):
    made = importlib.import_module(f"{package(backend)}.trainer").Trainer
    return made.start(HEAD, path, RECIPE, precision=precision, quantize=quantize, **FIELDS)


def steps(found, numbers):
    return [found.step([tiny_batch(found.config, HEAD, 4, 9, seed=n)], 1e-3) for n in numbers]


@pytest.mark.slow
def test_both_backends_take_the_same_steps(checkpoint):
    path = checkpoint(HEAD, **ONE_BLOCK)
    one, other = (trainer(make(), path) for make in BACKENDS.values())
    np.testing.assert_allclose(steps(one, range(4)), steps(other, range(4)), rtol=1e-6)
    for place, array in one.quantization.ranges().items():
        np.testing.assert_allclose(other.quantization.ranges()[place], array, rtol=1e-6, atol=1e-9)
    for weight in one.model.weight_table():
        if weight.tied_to is None:
            np.testing.assert_allclose(one.array(weight.name), other.array(weight.name), rtol=1e-6, atol=1e-6)
    batch = tiny_batch(one.config, HEAD, labels=False, seed=9)
    before = one.quantization.ranges()
    np.testing.assert_allclose(one.run(batch)["logits"], other.run(batch)["logits"], rtol=1e-6, atol=1e-6)
    assert all(np.array_equal(array, before[place]) for place, array in one.quantization.ranges().items())


@pytest.mark.slow
def test_it_goes_on_from_a_saved_state(backend, checkpoint, tmp_path):
    first = trainer(backend, checkpoint(HEAD, **ONE_BLOCK))
    steps(first, range(2))
    first.save(tmp_path / "saved")
    state, ranges = first.state(), first.quantization.ranges()
    second = trainer(backend, tmp_path / "saved")
    second.restore(state)
    np.testing.assert_allclose(steps(second, (2, 3)), steps(first, (2, 3)), rtol=1e-12)
    assert any(not np.array_equal(ranges[place], array) for place, array in first.quantization.ranges().items())

    # What is saved is an ordinary model, with the ranges.
    model = backend.load(HEAD, tmp_path / "saved", dtype="float64")
    found = ranges_in(model.config)
    place = "mobilebert.encoder.layer.0.attention.self.query"
    assert found.keys() == ranges.keys() == {name.removeprefix(RANGE) for name in state if name.startswith(RANGE)}
    assert found[place] == found[place.replace("query", "key")] == tuple(ranges[place]) and "classifier" not in found
    model.save_pretrained(tmp_path / "again")
    assert ranges_in(MobileBertConfig.from_pretrained(tmp_path / "again")) == found


def test_the_model_under_training_rounds(checkpoint):
    backend = BACKENDS["torch"]()
    path = checkpoint(HEAD)
    found = trainer(backend, path)
    model = backend.load(HEAD, path, dtype="float64")
    batch = tiny_batch(model.config, HEAD, 8, labels=False)
    plain = backend.numpy(backend.call(model, batch, return_dict=True)["logits"])
    difference = np.abs(found.run(batch)["logits"] - plain).max() / np.abs(plain).max()
    assert 1e-5 < difference < 0.2


def test_activations_and_matrices_are_rounded_as_exports_round_them(backend):
    module = importlib.import_module(f"{package(backend)}.fake_quantization")
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (7, 9))
    scales = weight_scales(weight)
    kernel = weight if backend.name == "torch" else weight.T
    got = np.asarray(module.rounded_weight(backend.array(kernel)))
    got = got if backend.name == "torch" else got.T
    np.testing.assert_allclose(got, as_int8(weight, scales) * scales[:, None].astype(np.float64), rtol=1e-6)
    x = rng.normal(0, 2, (5, 9))
    got = np.asarray(module.rounded_activation(*(backend.array(each) for each in (x, np.array(-1.0), np.array(3.0)))))
    step = 4 / 255
    assert len(np.unique(np.round(got / step))) > 20 and np.abs(got / step - np.round(got / step)).max() < 1e-9
    assert got.min() >= -1 - step and got.max() <= 3 + step
    inside = (x > -1) & (x < 3)
    assert np.abs(got - x)[inside].max() <= step / 2 + 1e-12


def test_what_is_not_trained(backend, checkpoint):
    path = checkpoint(HEAD)
    with pytest.raises(ConfigError, match="quantize must be one of int8, got 'int4'"):
        trainer(backend, path, quantize="int4")
    with pytest.raises(ConfigError, match="needs precision float32 or float64, got 'bfloat16'"):
        trainer(backend, path, precision="bfloat16")
    config = MobileBertConfig.from_pretrained(path)
    config.extra["quantization"] = {"ranges": {"a": [1, "x"]}}
    with pytest.raises(ConfigError, match=r"wanted quantization\.ranges with two finite numbers"):
        ranges_in(config)


def test_ranges_go_where_the_weights_are_trained_without_them(backend, checkpoint, tmp_path):
    """An export would round by the ranges of other weights."""
    path = checkpoint(HEAD, **ONE_BLOCK)
    ranges = {"mobilebert.encoder.layer.0.attention.self.query": np.array([-1.0, 2.0])}
    with_ranges(MobileBertConfig.from_pretrained(path), ranges).save_pretrained(path)
    found = trainer(backend, path, quantize=None)
    found.save(tmp_path / "again")
    assert ranges_in(found.config) and ranges_in(MobileBertConfig.from_pretrained(tmp_path / "again")) is None

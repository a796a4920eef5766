"""What is observed of a model that reads texts, on both backends, and scales that are migrated by it."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from conversion.backends import FRAMEWORKS
from mobilebert_core.errors import ConfigError
from mobilebert_core.training.recipe import Recipe
from tests.tiny import BRANCHES, tiny_batch, tiny_config

MIGRATABLE = (
    "released",
    "bottleneck_attention",
    "unshared",
    "no_bottleneck",
    "gelu",
    "embedding_is_hidden",
    "pruned",
    "no_layers",
)


def modules(backend):
    """`fold` and the calibration of a backend."""
    package = importlib.import_module("mobilebert_torch" if backend.name == "torch" else "mobilebert_tf")
    return package.fold, importlib.import_module(f"{package.__name__}.calibration")


def folded(backend, path, head, **options):
    fold, calibration = modules(backend)
    model = fold(backend.load(head, path, dtype="float64", **options), "block")
    return model, calibration


def output(backend, model, batch):
    return backend.numpy(backend.call(model, batch, return_dict=True)["logits"])


@pytest.mark.parametrize("branch", MIGRATABLE)
def test_migrated_scales_change_no_output(backend, checkpoint, branch):
    path = checkpoint("TokenClassification", hidden_scale=1e8, **BRANCHES[branch])
    model, calibration = folded(backend, path, "TokenClassification")
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    seen = calibration.calibrate(model, [batch])
    new = calibration.migrate(model, seen)
    wanted, got = output(backend, model, batch), output(backend, new, batch)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
    if branch not in ("no_layers",):
        before, after = backend.parameters(model), backend.parameters(new)
        assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_migrated_scales_pass_a_norm_that_is_kept(backend, checkpoint):
    """A gain of zero keeps its norm inside the block."""
    fold, calibration = modules(backend)
    model = backend.load("TokenClassification", checkpoint("TokenClassification"), dtype="float64")
    name = "mobilebert.encoder.layer.0.attention.output.LayerNorm.weight"
    (weight,) = [w for w in model.weight_table() if w.full_name == name]
    array = backend.parameters(model)[name].copy()
    array[3] = 0
    if backend.name == "torch":
        model.get_parameter(name).data.copy_(backend.array(array))
    else:
        model.variable_of(weight).assign(array)
    model = fold(model, "block")
    assert model.config.kept_norms
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    new = calibration.migrate(model, calibration.calibrate(model, [batch]))
    np.testing.assert_allclose(output(backend, new, batch), output(backend, model, batch), rtol=0, atol=1e-12)


def test_features_of_activations_become_even(backend, checkpoint):
    model, calibration = folded(backend, checkpoint("TokenClassification", hidden_scale=1e8), "TokenClassification")
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    before = calibration.calibrate(model, [batch])
    after = calibration.calibrate(calibration.migrate(model, before, strength=1.0), [batch])

    def spread(seen):
        places = [place for place in seen.lowest if place.endswith("bottleneck.input.dense")]
        sizes = [np.maximum(-seen.lowest[place], seen.highest[place]) for place in places]
        return [size.max() / np.median(size) for size in sizes]

    assert all(now < 2 for now in spread(after)) and max(spread(before)) > 2


def test_activations_are_centered(backend, checkpoint):
    """Shifts of the residual stream and of the values are taken out of what 8 bits must hold."""
    model, calibration = folded(backend, checkpoint("TokenClassification"), "TokenClassification")
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    before = calibration.calibrate(model, [batch])
    after = calibration.calibrate(calibration.migrate(model, before), [batch])
    for name in ("bottleneck.input.dense", "attention.self.query", "attention.output.dense"):
        place = f"mobilebert.encoder.layer.1.{name}"
        largest = np.maximum(after.highest[place], -after.lowest[place]).max()
        assert np.abs(after.lowest[place] + after.highest[place]).max() < 1e-9 * largest
        assert np.abs(before.lowest[place] + before.highest[place]).max() > 1e-3


def test_both_backends_observe_the_same(checkpoint):
    from tests.backends.backend import BACKENDS

    path = checkpoint("SequenceClassification", hidden_scale=1e4)
    found = []
    for backend in (make() for make in BACKENDS.values()):
        _, calibration = modules(backend)
        model = backend.load("SequenceClassification", path, dtype="float64")
        found.append(calibration.calibrate(model, [tiny_batch(model.config, model.head, labels=False)]))
    one, other = found
    assert one.rows == other.rows == 3 and one.tokens == other.tokens == 29
    assert one.score_range == pytest.approx(other.score_range) and one.inputs.keys() == other.inputs.keys()
    for place in one.inputs:
        np.testing.assert_allclose(one.lowest[place], other.lowest[place], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one.highest[place], other.highest[place], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one.range(place), other.range(place), rtol=1e-9, atol=1e-9)


def test_the_mask_constant_masks_and_is_not_larger_than_it_must_be(backend, checkpoint):
    path = checkpoint("TokenClassification", hidden_scale=1e4)
    _, calibration = modules(backend)
    model = backend.load("TokenClassification", path, dtype="float64")
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    constant = calibration.calibrate(model, [batch]).mask_constant
    assert -1e4 < constant < -20
    wanted = output(backend, model, batch)
    added = np.where(batch["attention_mask"] == 1, 0.0, constant)[:, None, None]  # (B, 1, 1, S)
    added = np.broadcast_to(added, (3, 1, 11, 11)).copy()
    got = output(backend, model, {**batch, "attention_mask": added})
    seen = batch["attention_mask"] == 1
    np.testing.assert_allclose(got[seen], wanted[seen], rtol=0, atol=1e-7 * np.abs(wanted).max())


def test_what_cannot_be_calibrated(backend, checkpoint):
    fold, calibration = modules(backend)
    model = backend.load("TokenClassification", checkpoint("TokenClassification"))
    batch = tiny_batch(model.config, "TokenClassification", labels=False)
    with pytest.raises(ConfigError, match="got one folded by 'all'. Calibrate before"):
        calibration.calibrate(fold(model, "all"), [batch])
    with pytest.raises(ConfigError, match="wanted a model folded by 'block', got folding=None"):
        calibration.migrate(model, calibration.calibrate(model, [batch]))


def test_a_model_that_rounds_still_does_afterwards(backend):
    framework = FRAMEWORKS[backend.name]
    config = tiny_config(num_hidden_layers=1)
    found = framework.trainer("test").start("TokenClassification", None, Recipe(), config=config, quantize="int8")
    batch = tiny_batch(config, "TokenClassification", labels=False)
    before = output(backend, found.model, batch)
    modules(backend)[1].calibrate(found.model, [batch])
    assert np.array_equal(output(backend, found.model, batch), before)

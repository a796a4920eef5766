"""Weights rounded by the error that they make on activations, and the means that are left."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.quantization.integers import PAIR_LIMIT, as_int8, weight_scales
from mobilebert_core.quantization.rounding import Moments, rounded


@pytest.fixture
def layer():
    """A matrix (24, 97), and texts whose activations are alike, as real ones are."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (24, 97)) * rng.uniform(0.1, 10, (24, 1))
    mixed = rng.normal(0, 1, (20, 97))
    return weight, [rng.normal(0.5, 1, (400, 20)) @ mixed + rng.normal(1, 0.1, (400, 97)) for _ in range(2)]


def moments_of(*batches):
    found = Moments()
    for batch in batches:
        found.add(batch)
    return found


def test_moments_are_those_of_all_batches(layer):
    _, (one, other) = layer
    found, both = moments_of(one, other), np.concatenate([one, other])
    np.testing.assert_allclose(found.mean, both.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(both.T, bias=True), atol=1e-9)


def test_the_error_on_other_texts_is_far_less_than_of_the_nearest_integers(layer):
    weight, (seen, others) = layer
    scales = weight_scales(weight)

    def error(integers):
        lost = others @ (integers * scales.astype(np.float64)[:, None] - weight).T
        return np.sqrt((lost - lost.mean(axis=0)) ** 2).mean()

    assert error(rounded(weight, scales, moments_of(seen).covariance)) < error(as_int8(weight, scales)) / 3


def test_no_pair_overflows(layer):
    weight, (seen, _) = layer
    weight[:, ::2] = np.abs(weight[:, ::2])
    weight[:, 1] = 3 * weight.max(axis=1)
    for scales in (weight_scales(weight), weight_scales(weight) / 2):  # the second cuts the largest weights
        integers = rounded(weight, scales, moments_of(seen).covariance)
        pairs = np.pad(integers.astype(int), ((0, 0), (0, 1))).reshape(24, -1, 2)
        for sign in (1, -1):
            assert np.maximum(sign * pairs, 0).sum(axis=-1).max() <= PAIR_LIMIT
        assert 255 * PAIR_LIMIT < 2**15


def test_activations_that_never_vary_leave_the_nearest_integers(layer):
    weight, _ = layer
    scales = weight_scales(weight)
    found = rounded(weight, scales, np.zeros((97, 97)))
    np.testing.assert_array_equal(found, as_int8(weight, scales))

"""Ranges of integers from what was observed."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.quantization.histograms import BINS, METHODS, Histogram


def histogram(*batches):
    found = Histogram()
    for batch in batches:
        found.add(batch)
    return found


def squared_error(values, low, high, levels=256):
    step = (high - low) / (levels - 1)
    return float(((np.round(np.clip(values, low, high) / step) * step - values) ** 2).mean())


def with_outlier():
    return np.append(np.random.default_rng(0).normal(0, 1, 100_000), [80.0, -3.0])


def test_a_histogram_that_grows_counts_every_value():
    rng = np.random.default_rng(0)
    batches = [rng.normal(0, scale, 5000) for scale in (0.1, 1, 30, 2)]
    grown, whole = histogram(*batches), histogram(np.concatenate(batches))
    assert grown.counts.sum() == whole.counts.sum() == 20_000
    assert (grown.low, grown.high) == (whole.low, whole.high)
    assert np.abs(np.cumsum(grown.counts) - np.cumsum(whole.counts)).max() < 200


def test_zero_is_always_inside():
    assert histogram(np.array([3.0, 4.0])).range("min_max") == (0.0, 4.0)
    assert histogram(np.array([-3.0])).range("min_max", symmetric=True) == (-3.0, 3.0)
    for method in METHODS:
        low, high = histogram(np.linspace(5, 6, 1000)).range(method)
        assert low == 0 and 5.5 < high < 6.1
        assert histogram().range(method) == (0.0, 0.0)


def test_an_outlier_does_not_take_the_steps_from_all_others():
    values = with_outlier()
    low, high = histogram(values).range("percentile")
    assert -6 < low < -3 and 3 < high < 6
    bulk = values[:-2]
    assert squared_error(bulk, low, high) < squared_error(bulk, values.min(), values.max()) / 50


def test_no_range_near_it_has_a_smaller_squared_error():
    values = np.random.default_rng(0).laplace(0, 1, 100_000)
    low, high = histogram(values).range("squared_error", levels=16)
    assert values.min() * 0.8 < low < 0 < high < values.max() * 0.8
    best = squared_error(values, low, high, 16)
    assert best < squared_error(values, values.min(), values.max(), 16) / 2
    for share in (0.8, 1.25):
        assert squared_error(values, low * share, high, 16) > 0.99 * best
        assert squared_error(values, low, high * share, 16) > 0.99 * best


def test_sixteen_bits_keep_more_of_an_outlier_than_eight():
    found = histogram(with_outlier())
    assert found.range(levels=65536)[1] > found.range(levels=256)[1]


def test_what_is_refused():
    with pytest.raises(ConfigError, match="must be one of squared_error, percentile, min_max, got 'entropy'"):
        histogram(np.ones(BINS)).range("entropy")
    with pytest.raises(ConfigError, match="wanted finite values, got NaN or infinity"):
        histogram(np.array([1.0, np.inf]))

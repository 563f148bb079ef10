"""Intervals of percentiles: by hand, and their coverage."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.functional.statistics.quantiles import (
    mean_and_tail,
    quantile_interval,
    quantile_ratio,
    ranks,
    ratio_of_medians,
)


@pytest.mark.parametrize(("n", "share"), [(20, 0.5), (200, 0.95), (1000, 0.99), (2375, 0.999), (5, 0.5)])
def test_the_ranks_are_the_narrowest_with_a_small_chance_outside(n, share):
    low, high = ranks(n, share)
    number_below = stats.binom(n, share)
    assert low == 0 or number_below.cdf(low - 1) <= 0.025 < number_below.cdf(low)
    if high <= n:
        assert number_below.sf(high - 1) <= 0.025 < number_below.sf(high - 2)
    else:
        assert share**n > 0.025  # likely none of n draws lies above


def test_a_percentile_beyond_the_examples_has_one_end():
    values = np.random.default_rng(0).lognormal(size=200)
    found = quantile_interval(values, 0.999)
    assert found.high is None and found.low == np.sort(values)[198] and found.low <= found.value
    assert quantile_interval(values, 0.001).low is None
    assert found.method == "order statistics over examples"
    assert quantile_interval(values[:3], 0.5).method == "none: 3 examples are too few"


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("n", [200, 2375])
def test_a_percentile_is_covered(n, share):
    """On a lognormal, where a bootstrap of the 99.9 percentile covers .21 and .87."""
    draws = np.sort(np.random.default_rng(1).lognormal(size=(1500, n)), axis=1)
    low, high = ranks(n, share)
    truth = stats.lognorm(1).ppf(share)
    above = draws[:, low - 1] <= truth if low else np.ones(1500, bool)
    below = truth <= draws[:, high - 1] if high <= n else np.ones(1500, bool)
    assert (above & below).mean() >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 1500)
    row = quantile_interval(torch.from_numpy(draws[0]), share)
    assert row.low == draws[0, low - 1] and row.value == pytest.approx(np.quantile(draws[0], share))
    assert row.high == (draws[0, high - 1] if high <= n else None)


def test_mean_and_tail_of_an_exponential():
    values = torch.distributions.Exponential(1.0).icdf(torch.linspace(0.5, 19999.5, 20000) / 20000)
    found = mean_and_tail(values)
    for part, truth in (("mean", 1.0), ("p95", math.log(20)), ("p99", math.log(100))):
        assert found[part].value == pytest.approx(truth, rel=1e-3)
        assert found[part].low < truth < found[part].high


def test_a_ratio_of_percentiles_of_one_set():
    """99.9 percentile over median of a lognormal: a bootstrap covers .26 at 200 examples."""
    rng, truth, held = np.random.default_rng(2), stats.lognorm(1).ppf(0.999), 0
    for _ in range(100):
        found = quantile_ratio(rng.lognormal(size=200), 0.999, 0.5)
        assert found.high is None and found.low <= found.value
        held += found.low <= truth
    assert held >= 93
    whole = quantile_ratio(rng.lognormal(size=8000), 0.999, 0.5)
    assert whole.low < truth < whole.high
    assert math.isnan(quantile_ratio(np.zeros(50), 0.999, 0.5).value)


def test_a_ratio_of_medians_of_two_sets_is_covered():
    rng, held = np.random.default_rng(3), 0
    for _ in range(300):
        found = ratio_of_medians(rng.lognormal(size=150), rng.lognormal(size=300))
        held += found.low <= 1 <= found.high
    assert 0.93 <= held / 300 <= 0.99
    assert ratio_of_medians(np.zeros(50), np.ones(50)).low is None
    turned = ratio_of_medians(np.arange(1.0, 50), np.arange(2.0, 90))
    back = ratio_of_medians(np.arange(2.0, 90), np.arange(1.0, 50))
    assert (turned.low, turned.high) == pytest.approx((1 / back.high, 1 / back.low))

"""Intervals cover what they should, and agree with closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import (
    bootstrap,
    bootstrap_each,
    bootstrap_means,
    difference_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from latentrun.functional.statistics.quantiles import quantile_interval, quantile_ratio, ratio_of_medians


def test_mean_interval_without_skewness_is_students():
    values = np.random.default_rng(0).normal(3, 2, 200)
    values = np.r_[values, 2 * values.mean() - values]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 399, values.mean(), values.std(ddof=1) / 20)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high), rel=1e-10)
    assert found.method == "t corrected for skewness over examples"


def test_skewness_moves_the_interval_as_hall_says():
    """The ends are where Hall's g(T), his eq. 3, takes the values of Student's quantiles."""
    values = np.random.default_rng(1).lognormal(0, 1, 60)
    found, n, mean, sd = mean_interval(values), 60, values.mean(), values.std(ddof=1)
    c = ((values - mean) ** 3).mean() / sd**3 / math.sqrt(n)
    for end, t in ((found.low, 1), (found.high, -1)):
        statistic = (mean - end) * math.sqrt(n) / sd
        g = statistic + c * statistic**2 / 3 + c**2 * statistic**3 / 27 + c / 6
        assert g == pytest.approx(t * stats.t.ppf(0.975, n - 1), rel=1e-9)
    assert found.high - mean > mean - found.low


def test_of_yes_and_no_it_is_wilsons():
    assert mean_interval([0.0, 1.0, 1.0, 1.0]) == share_interval(3, 4)
    assert mean_interval(torch.tensor([True, False]), over="samples").method == "Wilson over samples"


def test_equal_values_have_no_interval():
    assert mean_interval([0.1] * 7).low is None
    assert mean_interval([1.0, 1.0]).method == "none: equal in all 2 examples"
    assert bootstrap(lambda rows: rows.mean(1), [0.3] * 9, Noise(0), 50).low is None


def test_a_ratio_of_means_has_the_interval_of_its_linear_part():
    rng = np.random.default_rng(2)
    below = torch.from_numpy(rng.uniform(1, 3, 400))
    above = 2 * below + torch.from_numpy(rng.normal(0, 0.5, 400))
    found = ratio_interval(above, below)
    boot = bootstrap_means(lambda m: m[:, :1] / m[:, 1:], torch.stack([above, below], 1), Noise(0), 4000)[0]
    assert found.value == pytest.approx(boot.value, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((boot.low, boot.high), abs=0.1 * (boot.high - boot.low))


@pytest.mark.parametrize("values", [[], [2.0], [1.0, math.nan]])
def test_no_interval_without_spread_to_measure(values):
    found = mean_interval(values)
    assert found.low is None and found.high is None
    assert found.value == 2.0 if values == [2.0] else math.isnan(found.value)


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (3, 50), (50, 50), (1234, 20000)])
def test_share_interval_is_wilsons(hits, n):
    found, expected = share_interval(hits, n), stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert (found.value, found.low, found.high) == pytest.approx(
        (hits / n, expected.low, expected.high), abs=1e-12
    )


def test_a_share_of_nothing_is_unknown():
    assert math.isnan(share_interval(0, 0).value) and share_interval(0, 0).low is None


def test_bootstrap_of_a_mean_is_the_normal_interval():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    normal, found = mean_interval(values), bootstrap(lambda rows: rows.mean(1), values, Noise(0), 4000)
    assert found.value == pytest.approx(normal.value, abs=1e-6)
    assert found.high - found.low == pytest.approx(normal.high - normal.low, rel=0.06)


def covered(intervals, truth):
    return sum(e.low <= truth <= e.high for e in intervals)


# 0.1 % and 99.9 % of Binomial(200, 0.95): a right method fails once in 500 draws of the seed, which is fixed
LEAST, MOST = stats.binom.ppf([0.001, 0.999], 200, 0.95)


@pytest.mark.parametrize(
    "statistic, truth",
    [(lambda r: r.mean(1), 1.0), (lambda r: r.median(1).values, 1.0), (lambda r: r.std(1), 2.0)],
)
def test_bootstrap_covers_the_truth_in_95_of_100(statistic, truth):
    data = 1 + 2 * torch.randn(200, 301, generator=torch.Generator().manual_seed(1))
    found = [bootstrap(statistic, row, Noise(0).at(i), 400) for i, row in enumerate(data)]
    # the percentile interval of a standard deviation is known to be a little short: one more percent allowed
    # below
    assert LEAST - 2 <= covered(found, truth) <= MOST


def test_mean_interval_covers_the_truth_in_95_of_100():
    data = torch.rand(200, 100, generator=torch.Generator().manual_seed(2))
    assert LEAST <= covered([mean_interval(row) for row in data], 0.5) <= MOST


def test_means_by_counts_equal_means_by_rows():
    data = torch.randn(50, 3, generator=torch.Generator().manual_seed(3)).double()
    by_rows = bootstrap_each(lambda rows: rows.mean(1), data, Noise(5), 300)
    by_counts = bootstrap_means(lambda means: means, data, Noise(5), 300)
    for a, b in zip(by_rows, by_counts, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)


def test_index_matrices_bootstrap_several_arrays_together():
    x = torch.arange(100.0)
    y = 2 * x + 1
    found = bootstrap(lambda rows: (y[rows] - 2 * x[rows]).mean(1), torch.arange(100), Noise(0), 50)
    assert found.value == pytest.approx(1.0) and found.low is None  # whichever are drawn


def test_same_key_same_interval_other_key_other():
    data = torch.randn(100, generator=torch.Generator().manual_seed(4))
    first, again, other = (
        bootstrap(lambda r: r.std(1), data, noise) for noise in (Noise(0), Noise(0), Noise(1))
    )
    assert first == again and first != other


def test_undefined_statistics_have_no_interval_and_undefined_resamples_are_left_out():
    constant = torch.ones(20)
    never = bootstrap(lambda r: (r - 1).mean(1) / (r - 1).mean(1), constant, Noise(0), 20)
    assert math.isnan(never.value) and never.low is None
    # 8 in 27 resamples of (0, 0, 1) miss the 1: 0 / 0 there
    sometimes = bootstrap(lambda r: r.sum(1) / r.sum(1), torch.tensor([0.0, 0.0, 1.0]), Noise(0), 200)
    assert (sometimes.value, sometimes.low) == (1, None)  # and 1 in all others


def test_many_equal_values_make_no_percentile_interval_of_no_width():
    found = quantile_interval([0.0, *[1.0] * 98, 2.0], 0.5)
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert found.method.startswith("none: equal")


def test_the_difference_of_two_means_has_welchs_interval():
    above, below = Noise(0).normal("above", (30,)).double() * 2 + 1, Noise(0).normal("below", (70,)).double()
    found = difference_interval(above, below)
    expected = stats.ttest_ind(above.numpy(), below.numpy(), equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx((above.mean() - below.mean()).item())
    assert difference_interval([1.0, 1.0], [0.0, 0.0]).method.startswith("none: equal")
    assert difference_interval([1.0], [0.0, 2.0]).low is None


def test_a_ratio_of_percentiles_has_the_ends_of_two_intervals_at_half_the_tail():
    """Of 1, 2, ..., n order statistics are their own ranks, which are those of the binomial distribution."""
    n = 1000
    found = quantile_ratio(np.arange(1.0, n + 1), 0.9, 0.5)
    (top_low, bottom_low), (top_high, bottom_high) = (
        stats.binom.ppf(tail, n, [0.9, 0.5]) + number for tail, number in ((0.0125, 0), (0.9875, 1))
    )
    assert found.value == pytest.approx((1 + 0.9 * 999) / 500.5)
    assert (found.low, found.high) == pytest.approx((top_low / bottom_high, top_high / bottom_low))


def test_a_ratio_of_medians_adds_the_distances_that_pull_the_same_way_in_squares():
    """The ratio is low where the upper median is low and the lower one high, however uneven their ends."""
    above, below = np.arange(1.0, 41) ** 2, np.arange(1.0, 61) ** 3
    found, top, bottom = ratio_of_medians(above, below), *(quantile_interval(x, 0.5) for x in (above, below))
    value = np.median(above) / np.median(below)
    down = math.hypot(math.log(top.value / top.low), math.log(bottom.high / bottom.value))
    up = math.hypot(math.log(top.high / top.value), math.log(bottom.value / bottom.low))
    assert up > 1.05 * down
    assert (found.value, found.low, found.high) == pytest.approx(
        (value, value * math.exp(-down), value * math.exp(up))
    )


def test_few_examples_do_not_bound_a_high_percentile_from_above():
    """0.999 ** 200 = 0.82: most often all of 200 lie below it."""
    found = quantile_interval(np.arange(1.0, 201), 0.999)
    assert (found.low, found.high) == (199.0, None)

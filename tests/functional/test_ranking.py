"""t intervals, tests of all pairs and Holm's correction, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from latentrun.functional.statistics.ranking import PAIRED_T, WELCH_T, holm, moments, over_seeds, pairwise

RNG = np.random.default_rng(0)


def test_moments_leave_out_what_is_missing():
    values = np.array([[1.0, 2.0, np.nan, 6.0], [5.0, np.nan, np.nan, np.nan], [np.nan] * 4])
    mean, sd, n = moments(values)
    np.testing.assert_allclose(mean[:2], [3, 5])
    np.testing.assert_allclose(sd[0], np.std([1, 2, 6], ddof=1))
    assert n.tolist() == [3, 1, 0]
    assert np.isnan(mean[2]) and np.isnan(sd[1:]).all()


def test_the_interval_is_students():
    values = RNG.normal(3, 2, (4, 5))
    seen = over_seeds(values)
    expected = stats.t.interval(0.95, seen.n - 1, seen.mean, stats.sem(values, axis=1))
    np.testing.assert_allclose([seen.low, seen.high], expected)
    assert set(seen.method) == {"t over seeds"}
    one = over_seeds(values[:, :1])
    assert np.isnan(one.low).all() and np.isnan(one.high).all() and one.method[0] == "none: one of the seeds"


def test_the_interval_covers_the_mean_in_95_of_100():
    seen = over_seeds(RNG.normal(1.0, 3.0, (20_000, 3)))
    assert abs(((seen.low < 1) & (1 < seen.high)).mean() - 0.95) < 0.01


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.97])
def test_of_yes_and_no_it_covers_too(n, p):
    """Student's covers .67 at five seeds."""
    seen = over_seeds((np.random.default_rng(n).random((20_000, n)) < p).astype(float), share=True)
    assert ((seen.low <= p) & (p <= seen.high)).mean() >= 0.95
    assert (seen.low >= 0).all() and (seen.high <= 1).all()


def test_of_yes_and_no_it_is_the_exact_one_and_of_other_pairs_of_values_students():
    """Two accuracies on a grid of a few rows are often equal: that makes them no yes and no."""
    seen = over_seeds(
        np.array([[1.0, 1, 0, 1, 1], [0, 1, np.nan, np.nan, np.nan], [0.33, 0.35, 0.33, 0.33, 0.33]]),
        share=True,
    )
    exact = stats.binomtest(4, 5).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose([seen.low[0], seen.high[0]], [exact.low, exact.high])
    students = stats.t.interval(0.95, 4, 0.334, 0.02 / 5)
    np.testing.assert_allclose([seen.low[2], seen.high[2]], students)
    assert seen.method.tolist() == ["Clopper-Pearson over seeds"] * 2 + ["t over seeds"]


def test_counts_that_happen_to_be_0_and_1_are_no_shares():
    """Inactive variables of five seeds, or a difference of such numbers: twice as many is the same case."""
    values = np.array([[0.0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    seen, twice = over_seeds(values), over_seeds(2 * values)
    expected = stats.t.interval(0.95, 4, values.mean(1), stats.sem(values, axis=1))
    np.testing.assert_allclose([seen.low, seen.high], expected)
    np.testing.assert_allclose([twice.low, twice.high], [2 * seen.low, 2 * seen.high])
    assert set(seen.method) == {"t over seeds"}


def test_equal_values_have_no_interval_but_that_of_a_share_at_its_end():
    values = np.array([np.full(5, 1.0), np.full(5, 0.3), np.zeros(5), 0.1 + np.arange(5) * 1e-17])
    seen = over_seeds(values)
    assert np.isnan(seen.low).all() and set(seen.method) == {"none: equal in all 5 seeds"}
    shares = over_seeds(values, share=True)
    np.testing.assert_allclose(shares.low[[0, 2]], [0.025 ** (1 / 5), 0])
    np.testing.assert_allclose(shares.high[[0, 2]], [1, 1 - 0.025 ** (1 / 5)])
    assert np.isnan(shares.low[[1, 3]]).all()


def test_the_interval_of_a_share_stays_where_shares_are():
    values = np.array([[0.75, 0.91, 0.94, 0.96, 0.94], [0.3, 0.01, 0.0, 0.02, 0.01]])
    wide, share = over_seeds(values), over_seeds(values, share=True)
    assert wide.high[0] > 1 and wide.low[1] < 0
    np.testing.assert_allclose([share.low[0], share.high[0]], [wide.low[0], 1])
    np.testing.assert_allclose([share.low[1], share.high[1]], [0, wide.high[1]])


def test_common_seeds_are_paired_as_scipy_does():
    values = RNG.normal(0, 1, (3, 6)) + RNG.normal(0, 5, 6)  # seeds differ more than groups
    pairs = pairwise(values)
    for i, j in ((0, 1), (2, 0)):
        expected = stats.ttest_rel(values[i], values[j])
        np.testing.assert_allclose(pairs.p[i, j], expected.pvalue)
        interval = expected.confidence_interval(0.95)
        np.testing.assert_allclose([pairs.low[i, j], pairs.high[i, j]], [interval.low, interval.high])
        assert pairs.test[i, j] == PAIRED_T and pairs.n[i, j] == 6


def test_only_common_seeds_count_in_a_pair():
    values = RNG.normal(0, 1, (2, 6))
    values[0, 0] = values[1, 5] = np.nan
    pairs = pairwise(values)
    np.testing.assert_allclose(pairs.p[0, 1], stats.ttest_rel(values[0, 1:5], values[1, 1:5]).pvalue)
    assert pairs.n[0, 1] == 4


def test_what_is_not_finite_counts_as_missing():
    values = np.array([[1.0, 2.0, -np.inf, 4.0], [1.5, 2.7, 3.0, 4.9]])
    missing = np.where(np.isfinite(values), values, np.nan)
    infinite, without = pairwise(values), pairwise(missing)
    assert np.isfinite(infinite.difference).all() and infinite.n[0, 1] == 3
    np.testing.assert_array_equal(infinite.difference, without.difference)
    np.testing.assert_array_equal(infinite.low, without.low)


def test_without_common_seeds_it_is_welchs_test():
    a, b = RNG.normal(0, 1, 4), RNG.normal(1, 3, 6)
    values = np.full((2, 10), np.nan)
    values[0, :4], values[1, 4:] = a, b
    pairs = pairwise(values)
    expected = stats.ttest_ind(a, b, equal_var=False)
    np.testing.assert_allclose(pairs.p[0, 1], expected.pvalue)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose([pairs.low[0, 1], pairs.high[0, 1]], [interval.low, interval.high])
    assert pairs.test[0, 1] == WELCH_T and pairs.n[0, 1] == 0


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([1, 2, np.nan], [np.nan, 3, 4], "none: one common seed"),
        ([1, np.nan], [np.nan, 2], "none: fewer than two seeds"),
        ([3.0, 4.0, 5.0], [2.0, 3.0, 4.0], "none: no spread over seeds"),
        ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], "none: no spread over seeds"),  # but for rounding
    ],
)
def test_where_a_test_says_nothing_there_is_none(a, b, why):
    pairs = pairwise(np.array([a, b], dtype=float))
    assert np.isnan(pairs.p[0, 1]) and pairs.test[0, 1] == why
    assert np.isnan(pairs.low[0, 1])


def test_holm_by_hand():
    # m = 4: 0.005 * 4, 0.01 * 3, 0.03 * 2 = 0.06, and 0.04 * 1 raised to it.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, 0.9])), [1.0, 1.0])
    np.testing.assert_allclose(
        holm(np.array([0.03, np.nan, 0.02])), [0.04, np.nan, 0.04]
    )  # what is not tested does not count
    assert holm(np.array([])).size == 0


def test_holm_keeps_the_family_wise_rate():
    p = RNG.uniform(size=(4000, 10))
    assert abs(np.mean([holm(row).min() < 0.05 for row in p]) - 0.05) < 0.015
    assert np.mean(p.min(1) < 0.05) > 0.35  # without it

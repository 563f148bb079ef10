"""Verdicts: right as often as their level says, whichever way a claim is."""

import math

import numpy as np
import pytest
from scipy import stats

from latentrun.functional.statistics.verdicts import (
    CONTRADICTED,
    REPORTED,
    REPRODUCED,
    UNDECIDED,
    contrast,
    judged,
    overall,
    share_over_seeds,
    verdict,
    yes_or_no,
)


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(3.0, 2.0, 6)
    found = judged(values, kind="value", above=None, below=None)
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert (found.n, found.verdict) == (6, REPORTED)


def test_of_ratios_it_is_that_of_the_logarithms():
    values = np.array([0.5, 2.0, 1.0, 4.0])
    found = judged(values, kind="ratio", above=None, below=None)
    ends = stats.t.interval(0.95, 3, np.log(values).mean(), stats.sem(np.log(values)))
    assert (found.mean, found.low, found.high) == pytest.approx((stats.gmean(values), *np.exp(ends)))
    turned = judged(1 / values, kind="ratio", above=None, below=None)
    assert (turned.mean, turned.low) == pytest.approx(
        (1 / found.mean, 1 / found.high)
    )  # which of two is the reference does not matter


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "expected"),
    [
        (1.1, 1.3, 1, None, REPRODUCED),
        (0.9, 1.3, 1, None, UNDECIDED),
        (0.8, 1.0, 1, None, CONTRADICTED),
        (1.1, 1.3, None, 1, CONTRADICTED),
        (0.2, 0.9, None, 1, REPRODUCED),
        (-0.01, 0.01, -0.02, 0.02, REPRODUCED),
        (-0.03, 0.01, -0.02, 0.02, UNDECIDED),
        (0.021, 0.03, -0.02, 0.02, CONTRADICTED),
        (-0.5, 0.5, -0.02, 0.02, UNDECIDED),
        (math.nan, math.nan, 1, None, UNDECIDED),
        (0.0, 1.0, None, None, REPORTED),
    ],
)
def test_where_the_interval_lies(low, high, above, below, expected):
    assert verdict(low, high, above, below) == expected


def test_errors_are_as_rare_as_the_level_says():
    """True mean at the end of the range: either verdict is wrong, each in 2.5 % of all cases; equivalence at
    its margin too."""
    draws = np.random.default_rng(1).normal(1.0, 0.3, (4000, 5))
    found = [judged(row, "value", 1.0, None).verdict for row in draws]
    for wrong in (REPRODUCED, CONTRADICTED):
        assert stats.binomtest(found.count(wrong), 4000, 0.025).pvalue > 0.001
    margin = [judged(row, "value", 0.0, 1.0).verdict for row in draws]
    assert stats.binomtest(margin.count(REPRODUCED), 4000, 0.025, alternative="greater").pvalue > 0.001
    within = [judged(row, "value", -1.0, 3.0).verdict for row in draws]
    assert within.count(REPRODUCED) > 3950 and not within.count(CONTRADICTED)


def test_one_seed_decides_nothing_and_five_equal_ones_do():
    assert judged(np.array([5.0]), "value", 1.0, None).verdict == UNDECIDED
    assert judged(np.array([np.nan, 5.0]), "value", 1.0, None).n == 1
    assert judged(np.array([]), "value", 1.0, None).verdict == UNDECIDED
    same = judged(np.full(5, 0.1), "value", 0.05, None)
    assert np.isnan([same.low, same.high]).all() and same.verdict == REPRODUCED
    assert same.method == "none: equal in all 5 seeds"
    assert judged(np.zeros(5), "value", 0.0, None).verdict == CONTRADICTED  # no more than 0, in every seed
    assert judged(np.full(4, 0.1), "value", 0.05, None).verdict == UNDECIDED  # 2 * 0.5**4 = 0.125
    bounded = judged(np.ones(5), "value", 0.95, None)  # a rank correlation, 1 in every seed
    assert bounded.verdict == REPRODUCED and np.isnan(bounded.low)


def test_seeds_that_are_equal_say_where_their_median_lies():
    """The least and greatest of five hold the median in 15 of 16 cases, whatever the distribution."""
    draws = np.random.default_rng(5).exponential(size=(20_000, 5))
    held = (draws.min(1) <= math.log(2)) & (math.log(2) <= draws.max(1))
    assert held.mean() == pytest.approx(15 / 16, abs=0.005)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 5), (5, 5), (1, 1), (3, 20), (20, 20)])
def test_a_share_has_the_exact_interval(hits, n):
    values = np.r_[np.ones(hits), np.full(3, np.nan), np.zeros(n - hits)]
    seen = share_over_seeds(values)
    share, low, high, count = seen.mean, seen.low, seen.high, seen.n
    exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (share, low, high) == pytest.approx((hits / n, exact.low, exact.high), abs=1e-12) and count == n
    assert 0 <= low <= share <= high <= 1
    if hits == n:
        assert low == pytest.approx(0.025 ** (1 / n))  # closed form


def test_a_share_covers_what_students_interval_does_not():
    """Yes with 90 %, five seeds: Student's interval has no width where all say yes."""
    draws = (np.random.default_rng(2).random((4000, 5)) < 0.9).astype(float)
    findings = [judged(row, "share", None, None) for row in draws]
    assert np.mean([finding.low <= 0.9 <= finding.high for finding in findings]) > 0.95
    half = stats.t.ppf(0.975, 4) * draws.std(1, ddof=1) / math.sqrt(5)
    assert (abs(draws.mean(1) - 0.9) <= half).mean() < 0.6
    assert judged(np.array([1.0, 1, 1, 1, 0]), "value", None, None, share=True).high < 1


def test_a_value_that_lies_between_0_and_1_is_judged_there_and_a_count_is_not():
    """One inactive variable in one of five seeds does not show that there are some; nor do two."""
    for count in (1.0, 2.0):
        assert judged(np.array([count, 0, 0, 0, 0]), "value", 0.0, None).verdict == UNDECIDED
    close = np.array([0.75, 0.91, 0.94, 0.96, 0.94])
    share, number = (judged(close, "value", 0.5, None, share=share) for share in (True, False))
    assert share.high == 1 < number.high and share.low == number.low


def test_shares_against_a_range():
    always = np.ones(5)
    assert judged(always, "share", 0.4, None).verdict == REPRODUCED
    assert judged(always, "share", 0.5, None).verdict == UNDECIDED  # five seeds do not say more
    assert judged(always, "value", 0.5, None).verdict == REPRODUCED
    assert judged(np.zeros(10), "share", 0.5, None).verdict == CONTRADICTED
    assert judged(np.array([np.nan]), "share", 0.5, None).verdict == UNDECIDED


def test_what_is_neither_yes_nor_no_is_nothing():
    np.testing.assert_array_equal(yes_or_no(np.array([0, 1, 0.5, np.nan, 2])), [0, 1, np.nan, np.nan, np.nan])


def test_contrasts():
    values_of, against = np.array([1.0, 2.0, np.nan, 3.0]), np.array([2.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(contrast(values_of, None, None), values_of)
    np.testing.assert_array_equal(contrast(values_of, against, "difference"), [-1, 1, np.nan, 3])
    np.testing.assert_array_equal(contrast(values_of, against, "ratio"), [0.5, 2, np.nan, np.nan])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([REPRODUCED, REPORTED, REPRODUCED], REPRODUCED),
        ([REPRODUCED, UNDECIDED], UNDECIDED),
        ([UNDECIDED, CONTRADICTED], CONTRADICTED),
        ([REPRODUCED, CONTRADICTED], CONTRADICTED),
        ([REPORTED], UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_a_sentence_asserts_all_of_its_parts(parts, expected):
    assert overall(parts) == expected


def test_what_rounding_leaves_decides_nothing():
    """Differences of equal numbers, seen through their last digits: 0, and not above it."""
    other = np.ones(5)
    mine = other + np.array([0, 1, 1, 1, 2]) * 2.2e-16
    found = judged(mine - other, "value", 0.0, None, scale=1.0)
    assert (found.mean, found.verdict) == (0, CONTRADICTED) and math.isnan(found.low)
    assert judged(mine / other, "ratio", 1.0, None).verdict == CONTRADICTED
    assert judged(mine - other + 1e-6, "value", 0.0, None, scale=1.0).verdict == REPRODUCED


def test_a_ratio_needs_two_positive_values():
    ratios = contrast(np.array([2.0, -1.0, 3.0]), np.array([4.0, 1.0, 0.0]), "ratio")
    assert ratios[0] == 0.5 and np.isnan(ratios[1:]).all()

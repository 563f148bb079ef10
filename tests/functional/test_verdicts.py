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
    verdict,
)


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(3.0, 2.0, 6)
    found = judged(values, ratio=False, above=None, below=None)
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert (found.n, found.verdict) == (6, REPORTED)


def test_of_ratios_it_is_that_of_the_logarithms():
    values = np.array([0.5, 2.0, 1.0, 4.0])
    found = judged(values, ratio=True, above=None, below=None)
    ends = stats.t.interval(0.95, 3, np.log(values).mean(), stats.sem(np.log(values)))
    assert (found.mean, found.low, found.high) == pytest.approx((stats.gmean(values), *np.exp(ends)))
    turned = judged(1 / values, ratio=True, above=None, below=None)
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
    found = [judged(row, False, 1.0, None).verdict for row in draws]
    for wrong in (REPRODUCED, CONTRADICTED):
        assert stats.binomtest(found.count(wrong), 4000, 0.025).pvalue > 0.001
    margin = [judged(row, False, 0.0, 1.0).verdict for row in draws]
    assert stats.binomtest(margin.count(REPRODUCED), 4000, 0.025, alternative="greater").pvalue > 0.001
    within = [judged(row, False, -1.0, 3.0).verdict for row in draws]
    assert within.count(REPRODUCED) > 3950 and not within.count(CONTRADICTED)


def test_one_seed_decides_nothing_and_equal_seeds_do():
    assert judged(np.array([5.0]), False, 1.0, None).verdict == UNDECIDED
    assert judged(np.array([np.nan, 5.0]), False, 1.0, None).n == 1
    assert judged(np.array([]), False, 1.0, None).verdict == UNDECIDED
    same = judged(np.full(3, 0.1), False, 0.05, None)
    assert (same.low, same.high, same.verdict) == (pytest.approx(0.1), pytest.approx(0.1), REPRODUCED)
    assert judged(np.zeros(3), False, 0.0, None).verdict == CONTRADICTED  # no more than 0, in every seed


def test_contrasts():
    mine, other = np.array([1.0, 2.0, np.nan, 3.0]), np.array([2.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(contrast(mine, None, None), mine)
    np.testing.assert_array_equal(contrast(mine, other, "difference"), [-1, 1, np.nan, 3])
    np.testing.assert_array_equal(contrast(mine, other, "ratio"), [0.5, 2, np.nan, np.nan])


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
    found = judged(mine - other, False, 0.0, None, scale=1.0)
    assert (found.mean, found.low, found.high, found.verdict) == (0, 0, 0, CONTRADICTED)
    assert judged(mine / other, True, 1.0, None).verdict == CONTRADICTED
    assert judged(mine - other + 1e-6, False, 0.0, None, scale=1.0).verdict == REPRODUCED

"""Lines through points, against closed forms and another library."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from latentrun.functional.statistics.regression import through_origin, trend


def test_points_on_a_line_give_its_slope_without_an_interval():
    x = np.array([1.0, 2.0, 5.0])
    found = through_origin(x, 3 * x)
    assert found.value == pytest.approx(3) and found.low is None and "on the line" in found.method


def test_slope_and_interval_equal_least_squares_of_another_library():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 3, 12)
    y = 0.7 * x + rng.normal(0, 0.2, 12)
    found = through_origin(x, y)
    (slope,), covariance = optimize.curve_fit(lambda t, b: b * t, x, y)
    half = stats.t.ppf(0.975, 11) * math.sqrt(covariance[0, 0])
    assert (found.value, found.low, found.high) == pytest.approx(
        (slope, slope - half, slope + half), rel=1e-5
    )


def test_the_interval_covers():
    rng = np.random.default_rng(1)
    x = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
    found = [through_origin(x, x + rng.normal(0, 0.3, 5)) for _ in range(400)]
    assert 0.92 < np.mean([e.low < 1 < e.high for e in found]) < 0.98


def test_one_point_has_no_interval_and_nothing_no_slope():
    assert through_origin(np.array([2.0]), np.array([3.0])).low is None
    assert math.isnan(through_origin(np.zeros(3), np.ones(3)).value)


def autocorrelated(rng, rho, n):
    """AR(1) of variance 1."""
    values = rng.normal(size=n)
    for i in range(1, n):
        values[i] = rho * values[i - 1] + math.sqrt(1 - rho**2) * values[i]
    return values


def test_a_trend_of_values_that_alternate_is_that_of_scipy_with_two_numbers_known():
    """Residuals that do not hang together leave N points, and so Student's interval of the slope."""
    t, y = np.arange(12.0), 0.3 * np.arange(12) + np.where(np.arange(12) % 2, 1.0, -1.0)
    found, line = trend(t, y, "epochs"), stats.linregress(t, y)
    half = stats.t.ppf(0.975, 10) * line.stderr
    assert (found.value, found.low, found.high) == pytest.approx(
        (line.slope, line.slope - half, line.slope + half)
    )
    assert found.method == "t corrected for autocorrelation over epochs"


def test_a_trend_of_values_that_hang_together_is_that_of_fewer_points_by_hand():
    t = np.array([0.0, 1, 2, 3, 5, 6, 8, 9, 10, 12, 13, 15])
    y = 0.1 * t + autocorrelated(np.random.default_rng(2), 0.5, 12)
    line = stats.linregress(t, y)
    rest = y - line.intercept - line.slope * t
    r = (12 * (rest[1:] * rest[:-1]).sum() / (rest**2).sum() + 2) / 8
    freedom = 12 * (1 - r) / (1 + r) - 2
    assert 0.1 < r < 0.6 and freedom > 1
    half = stats.t.ppf(0.975, freedom) * line.stderr * math.sqrt(10 / freedom)
    found = trend(t, y, "epochs")
    assert (found.value, found.low, found.high) == pytest.approx(
        (line.slope, line.slope - half, line.slope + half)
    )


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.94), (0.5, 0.90), (0.8, 0.86)])
def test_the_interval_of_a_trend_covers_where_neighbours_hang_together(rho, least):
    """Student's covers .76 and .55 of AR(1) of 0.5 and 0.8 over 15 epochs."""
    rng, t = np.random.default_rng(2), np.arange(15.0)
    found = [trend(t, autocorrelated(rng, rho, 15), "epochs") for _ in range(2000)]
    assert np.mean([e.low <= 0 <= e.high for e in found]) > least


def test_a_trend_of_few_points_or_of_a_line_has_no_interval():
    assert trend(np.arange(4.0), np.array([1.0, 0, 1, 2]), "epochs").method == "none: 4 epochs are too few"
    assert trend(np.arange(9.0), np.full(9, 0.1), "epochs").method == "none: equal slopes between all epochs"

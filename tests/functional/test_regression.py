"""Lines through the origin against closed forms and another library."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from latentrun.functional.statistics.regression import through_origin


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

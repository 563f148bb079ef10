"""Straight lines through points."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from latentrun.functional.statistics.methods import EXAMPLES, FLAT, STUDENT
from latentrun.types import Estimate


def through_origin(x: np.ndarray, y: np.ndarray, over: str = EXAMPLES) -> Estimate:
    """Slope b of y = b x by least squares, b = sum x y / sum x², with its 95 % interval.

    ``x (N,)``, ``y (N,)``; in units of y / x. The interval is Student's, with N - 1 degrees of freedom, for
    errors of equal variance: var(b) = sum (y - b x)² / ((N - 1) sum x²). No interval for one point, NaN where
    x is 0 throughout, and none where all points lie on the line. Draper & Smith, Applied Regression Analysis
    (1998), ch. 1. ``over``: what the points are.

    >>> through_origin(np.array([1.0, 2.0]), np.array([3.0, 6.0]), "runs")
    Estimate(value=3.0, low=None, high=None, method='none: all runs lie on the line')
    """
    squares, n = float(np.sum(x * x)), len(x)
    if squares == 0:
        return Estimate(math.nan, method="none: not finite")
    slope = float(np.sum(x * y)) / squares
    if n < 2:
        return Estimate(slope, method=f"none: one of the {over}")
    residual = float(np.sum((y - slope * x) ** 2))
    if residual <= (FLAT * abs(slope)) ** 2 * squares:
        return Estimate(slope, method=f"none: all {over} lie on the line")
    variance = residual / ((n - 1) * squares)
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance)
    return Estimate(slope, slope - half, slope + half, f"{STUDENT} over {over}")

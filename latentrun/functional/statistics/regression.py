"""Straight lines through points, and through what follows one another."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from latentrun.functional.statistics.methods import EQUAL, EXAMPLES, FLAT, STUDENT, TAIL, TREND
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


def trend(t: np.ndarray, y: np.ndarray, over: str) -> Estimate:
    """Slope of the least-squares line through ``y (N,)`` at the times ``t (N,)``, ascending, with a 95 %
    interval that allows for neighbours whose distances from the line hang together, as those of epochs do.

    Student's for an effective number of points, N (1 - r) / (1 + r) (Santer et al. 2000, J. Geophys. Res.
    105, 7337, eq. 6), with r the correlation of each residual with the next, freed of its bias, -(2 + 4 r) /
    N beside a line (Kendall 1954, Biometrika 41, 403), and at least 0; at least one degree of freedom. No
    interval for fewer than five points, and none where all lie on the line.

    >>> trend(np.arange(6.0), 2 * np.arange(6.0), "epochs")
    Estimate(value=2.0, low=None, high=None, method='none: equal slopes between all epochs')
    """
    t, n = np.asarray(t, float) - np.mean(t), len(t)
    slope = float(t @ y / (t @ t))
    rest = y - np.mean(y) - slope * t
    squares = float(rest @ rest)
    if squares <= (FLAT * np.abs(y).max()) ** 2 * n:
        return Estimate(slope, method=f"{EQUAL} slopes between all {over}")
    if n < 5:
        return Estimate(slope, method=f"none: {n} {over} are too few")
    r = (n * float(rest[1:] @ rest[:-1]) / squares + 2) / (n - 4)
    r = min(max(r, 0.0), 1.0)
    freedom = max(1.0, n * (1 - r) / (1 + r) - 2)
    half = float(stdtrit(freedom, 1 - TAIL)) * math.sqrt(squares / freedom / float(t @ t))
    return Estimate(slope, slope - half, slope + half, f"{TREND} over {over}")

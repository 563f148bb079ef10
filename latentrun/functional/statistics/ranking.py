"""Which of several groups of runs is better: intervals over seeds, tests of all pairs, Holm's correction.

Values lie in a matrix ``(G, S)``, one row a group, one column a seed, NaN where a group has no run of a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from latentrun.functional.statistics.methods import (
    EQUAL,
    EXACT,
    FLAT,
    PAIRED,
    SEEDS,
    STUDENT,
    WELCH,
    exact_ends,
    welch_freedom,
)
from latentrun.types import Estimate

PAIRED_T, WELCH_T = f"{PAIRED} over {SEEDS}", f"{WELCH} over {SEEDS}"


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation (divisor n - 1) and number n of each row of ``values (G, S)``, NaN left out;
    ``(G,)`` each.

    Mean NaN for n = 0, standard deviation NaN for n < 2.

    >>> moments(np.array([[1.0, 3.0, np.nan]]))
    (array([2.]), array([1.41421356]), array([2]))
    """
    present = np.isfinite(values)
    n = present.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(1) / n
        squares = np.where(present, (values - mean[:, None]) ** 2, 0.0).sum(1)
        sd = np.sqrt(np.where(n > 1, squares / (n - 1), np.nan))
    return mean, sd, n


def t_interval(mean: np.ndarray, error: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval mean -+ t(97.5 %, df) * error; NaN where df < 1. Student (1908)."""
    df = np.asarray(df, dtype=float)
    half = stdtrit(np.where(df >= 1, df, np.nan), 0.975) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class OverSeeds:
    """Each row of values over its seeds, ``(G,)`` each: ``mean``, ``sd`` (divisor n - 1), ``n``, the ends
    ``low``, ``high`` of the 95 % interval of the mean, NaN where there is none, and how it was made, or why
    there is none: ``method``."""

    mean: np.ndarray
    sd: np.ndarray
    n: np.ndarray
    low: np.ndarray
    high: np.ndarray
    method: np.ndarray


def over_seeds(values: np.ndarray, share: bool = False, scale: float = 0.0, over: str = SEEDS) -> OverSeeds:
    """Mean, standard deviation, n, and the 95 % interval of the mean, of each row of ``values (G, S)``.

    Student's t, of what is known to lie in [0, 1] (``share``) what of it lies there; but for two kinds of
    values of which it covers far less (.67 of yes and no over five seeds):

    *Yes and no*: only 0 and 1, of a ``share``: then the interval is the exact one (Clopper & Pearson 1934),
    without any further assumption: what lies in [0, 1] is 1 with a chance of at most its mean, and 0 with one
    of at most 1 less it. Nothing else that happens to be 0 and 1 is a share: of counts, and of differences,
    the next seed may be 7.

    *Equal* in all seeds (up to 1e-12 of ``scale``, the greatest value that they were made of, or of
    themselves), but for yes and no: that the spread was not seen does not make it 0, so there is no interval;
    the ``method`` says "none: equal in all 5 seeds".

    >>> found = over_seeds(np.array([[1.0, 1.0, 1.0, 1.0, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]]), share=True)
    >>> found.low.round(3), found.method
    (array([0.284,   nan]), array(['Clopper-Pearson over seeds', 'none: equal in all 5 seeds'],...
    """
    mean, sd, n = moments(values)
    low, high = t_interval(mean, sd / np.sqrt(np.maximum(n, 1)), n - 1)
    present = np.isfinite(values)
    least = np.where(present, values, np.inf).min(1, initial=np.inf)
    greatest = np.where(present, values, -np.inf).max(1, initial=-np.inf)
    several = n > 1
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.maximum(np.abs(least), np.abs(greatest)), scale)
        equal = several & (greatest - least <= FLAT * size)
        zero_one = (values == 0) | (values == 1) | ~present
    exact = several & zero_one.all(1) & share
    hits = (present & (values == 1)).sum(1)
    share_low, share_high = exact_ends(np.where(exact, hits, 1), np.where(exact, n, 1))
    if share:  # but not past values that are none, though they are called so
        low, high = np.maximum(low, np.minimum(0, least)), np.minimum(high, np.maximum(1, greatest))
    low = np.where(exact, share_low, np.where(equal, np.nan, low))
    high = np.where(exact, share_high, np.where(equal, np.nan, high))
    none = [f"{EQUAL} in all {count} {over}" for count in n]
    few = np.where(n == 1, f"none: one of the {over}", f"none: no {over}")
    choices = [exact, equal, several]
    method = np.select(
        choices, [f"{EXACT} over {over}", np.array(none, object), f"{STUDENT} over {over}"], few
    )
    return OverSeeds(mean, sd, n, low, high, method.astype(object))


def mean_over(values: np.ndarray, over: str = SEEDS) -> Estimate:
    """The mean of ``values (S,)`` with the interval of :func:`over_seeds`.

    >>> mean_over(np.array([3.0]), "runs")
    Estimate(value=3.0, low=None, high=None, method='none: one of the runs')
    """
    seen = over_seeds(np.asarray(values, float)[None], over=over)
    return Estimate.read(seen.mean[0], seen.low[0], seen.high[0], str(seen.method[0]))


@dataclass(frozen=True)
class Pairs:
    """Comparisons of every group with every other, ``(G, G)`` each; entry i, j is about group i minus group
    j.

    ``difference`` of the means with its standard ``error`` of ``freedom`` degrees and 95 % interval ``low``,
    ``high``; ``n`` the number of common seeds; ``p`` two-sided. All of these but the difference and n are NaN
    where ``test`` says why there is none.
    """

    difference: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    p: np.ndarray
    test: np.ndarray


def pairwise(values: np.ndarray) -> Pairs:
    """Tests whether rows of ``values (G, S)`` have the same mean.

    Two common seeds or more: Student's t test of the differences seed by seed; the difference is theirs. No
    common seed: Welch's (1947) t test of independent samples, at least two runs each. One common seed:
    neither holds, no test. No test either where nothing varies: the spread that a t test goes by is then not
    known to be 0, only not seen. Values that are not finite count as missing.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    mean, sd, count = moments(values)
    variance = np.where(count > 0, sd**2 / np.maximum(count, 1), np.nan)  # of the mean
    rows = [_against(values, i, mean, variance, count) for i in range(len(values))]
    return Pairs(*(np.stack(column) for column in zip(*rows, strict=True)))


def _against(
    values: np.ndarray, i: int, mean: np.ndarray, variance: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The entries of :class:`Pairs` for group i against all."""
    paired_mean, paired_sd, n = moments(values[i] - values)
    independent = n == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        both = variance[i] + variance
        welch = welch_freedom(variance[i], variance, count[i], count)
        difference = np.where(independent, mean[i] - mean, paired_mean)
        error = np.where(independent, np.sqrt(both), paired_sd / np.sqrt(n))
        df = np.where(independent, welch, n - 1)
        scale = np.maximum(np.abs(mean[i]), np.abs(mean))
        testable = (df >= 1) & (error > FLAT * scale)
        p = np.where(testable, 2 * stdtr(np.where(df >= 1, df, np.nan), -np.abs(difference) / error), np.nan)
    enough = np.where(independent, (count[i] > 1) & (count > 1), n > 1)
    why = np.where(n == 1, "none: one common seed", "none: fewer than two seeds")
    why = np.where(enough, "none: no spread over seeds", why)
    test = np.where(testable, np.where(independent, WELCH_T, PAIRED_T), why)
    error, df = np.where(testable, error, np.nan), np.where(testable, df, np.nan)
    return difference, error, df, *t_interval(difference, error, df), n, p, test


def holm(p: np.ndarray) -> np.ndarray:
    """p-values ``(m,)`` corrected for being m, so that the chance of any false rejection in the family keeps
    the level: the k-th smallest times m - k + 1, never below a smaller one's, at most 1. NaN stay and do not
    count. Holm (1979).

    >>> holm(np.array([0.04, 0.01, np.nan]))
    array([0.04, 0.02,  nan])
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")[: np.isfinite(p).sum()]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted

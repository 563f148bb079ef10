"""Which of several groups of runs is better: t intervals over seeds, tests of all pairs, Holm's correction.

Values lie in a matrix ``(G, S)``, one row a group, one column a seed, NaN where a group has no run of a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

PAIRED, WELCH = "paired t", "Welch t"
ROUNDING = 1e-12  # a spread below this share of the values is what arithmetic leaves of none


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


def over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation, n, and the ends of the 95 % t interval of the mean, of each row of ``values
    (G, S)``."""
    mean, sd, n = moments(values)
    return mean, sd, n, *t_interval(mean, sd / np.sqrt(np.maximum(n, 1)), n - 1)


@dataclass(frozen=True)
class Pairs:
    """Comparisons of every group with every other, ``(G, G)`` each; entry i, j is about group i minus group
    j.

    ``difference`` of the means with its 95 % interval ``low``, ``high``; ``n`` the number of common seeds;
    ``p`` two-sided, NaN where ``test`` says why there is none.
    """

    difference: np.ndarray
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
    known to be 0, only not seen.
    """
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
        # Degrees of freedom of Welch and Satterthwaite.
        welch = both**2 / (variance[i] ** 2 / (count[i] - 1) + variance**2 / (count - 1))
        difference = np.where(independent, mean[i] - mean, paired_mean)
        error = np.where(independent, np.sqrt(both), paired_sd / np.sqrt(n))
        df = np.where(independent, welch, n - 1)
        scale = np.maximum(np.abs(mean[i]), np.abs(mean))
        testable = (df >= 1) & (error > ROUNDING * scale)
        p = np.where(testable, 2 * stdtr(np.where(df >= 1, df, np.nan), -np.abs(difference) / error), np.nan)
    enough = np.where(independent, (count[i] > 1) & (count > 1), n > 1)
    why = np.where(n == 1, "none: one common seed", "none: fewer than two seeds")
    why = np.where(enough, "none: no spread over seeds", why)
    test = np.where(testable, np.where(independent, WELCH, PAIRED), why)
    return difference, *t_interval(difference, np.where(testable, error, np.nan), df), n, p, test


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

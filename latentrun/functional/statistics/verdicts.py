"""What repetitions say of an expectation: a quantity over seeds, its interval, and where that lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import betaincinv

from latentrun.functional.statistics.ranking import over_seeds

REPRODUCED, CONTRADICTED, UNDECIDED, REPORTED = "reproduced", "contradicted", "undecided", "reported"
EXACT = 1e-12  # a spread below this share of the values is rounding
TAIL = 0.025  # of a 95 % interval, on each side


@dataclass(frozen=True)
class Finding:
    """A quantity over ``n`` seeds: ``mean`` (of ratios the geometric one; of yes and no the share of yes)
    with the ends ``low``, ``high`` of its 95 % interval, NaN where there is none, and the ``verdict``."""

    mean: float
    low: float
    high: float
    n: int
    verdict: str


def contrast(
    values_of: np.ndarray, values_against: np.ndarray | None, by: Literal["difference", "ratio"] | None
) -> np.ndarray:
    """One value a seed ``(S,)``: ``values_of``, or its difference from, or ratio to, ``values_against``; NaN
    where either is missing, and for ratios where either is not above 0.

    >>> contrast(np.array([4.0, 1.0]), np.array([2.0, 0.0]), "ratio")
    array([ 2., nan])
    """
    if values_against is None:
        return values_of
    if by == "difference":
        return values_of - values_against
    positive = (values_of > 0) & (values_against > 0)
    return np.where(positive, values_of, np.nan) / np.where(positive, values_against, np.nan)


def yes_or_no(values: np.ndarray) -> np.ndarray:
    """The values ``(S,)`` that say yes (1) or no (0); NaN in place of any other."""
    return np.where((values == 0) | (values == 1), values, np.nan)


# ---------------------------------------------------------------- intervals over seeds
def mean_over_seeds(values: np.ndarray, scale: float = 0.0) -> tuple[float, float, float, int]:
    """Mean of the values ``(S,)``, NaN left out, the ends of its 95 % interval (Student's t), and their
    number.

    ``scale``: the greatest value that they were made of. What lies below 1e-12 of it is rounding: a spread so
    small is none, and a mean so small is 0.
    """
    mean, sd, n, low, high = (float(column[0]) for column in over_seeds(values[None]))
    # The same in all seeds: an interval of rounding would decide what only its digits say.
    if sd <= EXACT * max(scale, abs(mean)):
        mean = 0.0 if abs(mean) <= EXACT * scale else mean
        low = high = mean
    return mean, low, high, int(n)


def geometric_mean_over_seeds(ratios: np.ndarray) -> tuple[float, float, float, int]:
    """As :func:`mean_over_seeds` of the logarithms, transformed back."""
    mean, low, high, n = mean_over_seeds(np.log(ratios), 1.0)
    return math.exp(mean), math.exp(low), math.exp(high), n


def share_over_seeds(values: np.ndarray) -> tuple[float, float, float, int]:
    """The share of ones among values ``(S,)`` that are 0 or 1, NaN left out, the ends of its exact 95 %
    interval (Clopper & Pearson 1934), which lie in [0, 1], and their number.

    It covers at least 95 %, however few seeds there are; Student's interval of such values covers far less.

    >>> [round(number, 4) for number in share_over_seeds(np.ones(5))]  # low: 0.025 ** (1 / 5)
    [1.0, 0.4782, 1.0, 5]
    """
    n = int(np.isfinite(values).sum())
    if n == 0:
        return math.nan, math.nan, math.nan, 0
    hits = int(np.nansum(values))
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, TAIL))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - TAIL))
    return hits / n, low, high, n


# ---------------------------------------------------------------- verdicts
def judged(
    values: np.ndarray,
    kind: Literal["value", "ratio", "share"],
    above: float | None,
    below: float | None,
    scale: float = 0.0,
) -> Finding:
    """Hold the values of the seeds ``(S,)``, NaN where there is none, against the range (``above``,
    ``below``).

    The interval is Student's over seeds; of a ratio that of the logarithms, transformed back; of a share the
    exact one. *reproduced*: all of the interval lies inside the range; with both ends given this is the two
    one-sided tests procedure at 2.5 % each (Schuirmann 1987, who uses 5 %). *contradicted*: all of it lies
    outside, on one side. *undecided*: anything else, and no interval. *reported*: there is no range.
    ``scale``: as in :func:`mean_over_seeds`.

    >>> judged(np.array([2.0, 2.0]), "value", above=1.0, below=None).verdict
    'reproduced'
    """
    values = np.asarray(values, dtype=float)
    if kind == "share":
        mean, low, high, n = share_over_seeds(values)
    elif kind == "ratio":
        mean, low, high, n = geometric_mean_over_seeds(values)
    else:
        mean, low, high, n = mean_over_seeds(values, scale)
    return Finding(mean, low, high, n, verdict(low, high, above, below))


def verdict(low: float, high: float, above: float | None, below: float | None) -> str:
    """Where an interval lies: see :func:`judged`.

    >>> [verdict(low, low + 1, above=1.0, below=None) for low in (2.0, 0.5, -2.0)]
    ['reproduced', 'undecided', 'contradicted']
    """
    if above is None and below is None:
        return REPORTED
    if math.isnan(low) or math.isnan(high):
        return UNDECIDED
    if (above is None or low > above) and (below is None or high < below):
        return REPRODUCED
    outside = (above is not None and high <= above) or (below is not None and low >= below)
    return CONTRADICTED if outside else UNDECIDED


def overall(verdicts: Iterable[str]) -> str:
    """The verdict on a sentence from those on its parts, all of which it asserts: *reproduced* if all are
    (which needs no correction for their number), *contradicted* if one is (of k true parts, the chance that
    some interval misses is at most 2.5 k %), else *undecided*. Parts that are only reported do not count."""
    decisive = [part for part in verdicts if part != REPORTED]
    if CONTRADICTED in decisive:
        return CONTRADICTED
    return REPRODUCED if decisive and all(part == REPRODUCED for part in decisive) else UNDECIDED

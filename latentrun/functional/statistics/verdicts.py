"""What repetitions say of an expectation: a quantity over seeds, its interval, and where that lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latentrun.functional.statistics.methods import EQUAL, EXACT, FLAT, SEEDS, exact_ends
from latentrun.functional.statistics.ranking import over_seeds

REPRODUCED, CONTRADICTED, UNDECIDED, REPORTED = "reproduced", "contradicted", "undecided", "reported"
ENOUGH = 5  # seeds with one value, from which on it may be judged: 1 - 2^(1 - 5) = 0.94


@dataclass(frozen=True)
class Seen:
    """A quantity over ``n`` seeds: ``mean`` (of ratios the geometric one; of yes and no the share of yes)
    with the ends ``low``, ``high`` of its 95 % interval, NaN where there is none, and how that was made."""

    mean: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True)
class Finding(Seen):
    """What was seen, and the ``verdict``."""

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
def mean_over_seeds(values: np.ndarray, scale: float = 0.0, share: bool = False) -> Seen:
    """Mean of the values ``(S,)``, NaN left out, with its interval (see
    :func:`~latentrun.functional.statistics.ranking.over_seeds`).

    ``scale``: the greatest value that they were made of. What lies below 1e-12 of it is rounding: a spread so
    small is none, and a mean so small is 0. ``share``: whether they are known to lie in [0, 1].
    """
    seen = over_seeds(np.asarray(values, float)[None], share, scale)
    mean, low, high = (float(column[0]) for column in (seen.mean, seen.low, seen.high))
    if seen.method[0].startswith(EQUAL) and abs(mean) <= FLAT * scale:
        mean = 0.0
    return Seen(mean, low, high, int(seen.n[0]), str(seen.method[0]))


def geometric_mean_over_seeds(ratios: np.ndarray) -> Seen:
    """As :func:`mean_over_seeds` of the logarithms, transformed back."""
    seen = mean_over_seeds(np.log(ratios), 1.0)
    mean, low, high = (math.exp(number) for number in (seen.mean, seen.low, seen.high))
    method = f"{seen.method}, of logarithms" if math.isfinite(low) else seen.method
    return Seen(mean, low, high, seen.n, method)


def share_over_seeds(values: np.ndarray) -> Seen:
    """The share of ones among values ``(S,)`` that are 0 or 1, NaN left out, with its exact 95 % interval
    (Clopper & Pearson 1934), whose ends lie in [0, 1].

    It covers at least 95 %, however few seeds there are; Student's interval of such values covers far less.

    >>> seen = share_over_seeds(np.ones(5))
    >>> [round(number, 4) for number in (seen.mean, seen.low, seen.high)]  # low: 0.025 ** (1 / 5)
    [1.0, 0.4782, 1.0]
    """
    n = int(np.isfinite(values).sum())
    if n == 0:
        return Seen(math.nan, math.nan, math.nan, 0, f"none: no {SEEDS}")
    hits = int(np.nansum(values))
    low, high = (float(end) for end in exact_ends(np.array(hits), np.array(n)))
    return Seen(hits / n, low, high, n, f"{EXACT} over {SEEDS}")


# ---------------------------------------------------------------- verdicts
def judged(
    values: np.ndarray,
    kind: Literal["value", "ratio", "share"],
    above: float | None,
    below: float | None,
    scale: float = 0.0,
    share: bool = False,
) -> Finding:
    """Hold the values of the seeds ``(S,)``, NaN where there is none, against the range (``above``,
    ``below``).

    The interval is Student's over seeds, of values that are known to lie in [0, 1] (``share``) what of it
    lies there; of a ratio that of the logarithms, transformed back; of the ``kind`` share, whose values are
    yes (1) and no (0), the exact one. *reproduced*: all of the interval lies inside the
    range; with both ends given this is the two one-sided tests procedure at 2.5 % each (Schuirmann 1987, who
    uses 5 %). *contradicted*: all of it lies outside, on one side. *undecided*: anything else, and no
    interval. *reported*: there is no range. ``scale``: as in :func:`mean_over_seeds`.

    A value that is the same in all seeds has no interval: nothing is known of its spread, nor so of its mean.
    But n draws all lie above their median, or all below it, with chance 2^(1 - n): from five seeds on the
    median is that value with a confidence of 94 %, without any assumption, and what is judged is whether the
    value itself lies inside. Fewer seeds decide nothing. (A yes or no, judged as a share, is not spared its
    exact interval: five of five say no more than a share above 0.48.)

    >>> judged(np.full(5, 2.0), "value", above=1.0, below=None).verdict
    'reproduced'
    >>> judged(np.full(4, 2.0), "value", above=1.0, below=None).verdict
    'undecided'
    """
    values = np.asarray(values, dtype=float)
    if kind == "share":
        seen = share_over_seeds(values)
    elif kind == "ratio":
        seen = geometric_mean_over_seeds(values)
    else:
        seen = mean_over_seeds(values, scale, share)
    same = seen.method.startswith(EQUAL) and seen.n >= ENOUGH
    ends = (seen.mean, seen.mean) if same else (seen.low, seen.high)
    return Finding(*vars(seen).values(), verdict=verdict(*ends, above, below))


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

"""What repetitions say of an expectation: a quantity over seeds, its interval, and where that lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latentrun.functional.statistics.ranking import over_seeds

REPRODUCED, CONTRADICTED, UNDECIDED, REPORTED = "reproduced", "contradicted", "undecided", "reported"
EXACT = 1e-12  # a spread below this share of the values is rounding


@dataclass(frozen=True)
class Finding:
    """A quantity over ``n`` seeds: ``mean`` (of ratios the geometric one) with the ends ``low``, ``high`` of
    its 95 % t interval, NaN where there is none, and the ``verdict``."""

    mean: float
    low: float
    high: float
    n: int
    verdict: str


def contrast(
    values: np.ndarray, against: np.ndarray | None, by: Literal["difference", "ratio"] | None
) -> np.ndarray:
    """One value a seed ``(S,)``: ``values``, or ``values - against``, or ``values / against``; NaN where
    either is missing, and for ratios where either is not above 0.

    >>> contrast(np.array([4.0, 1.0]), np.array([2.0, 0.0]), "ratio")
    array([ 2., nan])
    """
    if against is None:
        return values
    if by == "difference":
        return values - against
    positive = (values > 0) & (against > 0)
    return np.where(positive, values, np.nan) / np.where(positive, against, np.nan)


def judged(
    values: np.ndarray, ratio: bool, above: float | None, below: float | None, scale: float = 0.0
) -> Finding:
    """Hold the values of the seeds ``(S,)``, NaN where there is none, against the range (``above``,
    ``below``).

    The interval is Student's over seeds; of a ratio that of the logarithms, transformed back. *reproduced*:
    all of the interval lies inside the range; with both ends given this is the two one-sided tests procedure
    at 2.5 % each (Schuirmann 1987, who uses 5 %). *contradicted*: all of it lies outside, on one side.
    *undecided*: anything else, and fewer than two seeds. *reported*: there is no range.

    ``scale``: the greatest value that the quantity was made of. What lies below 1e-12 of it is rounding: a
    spread so small is none, and a mean so small is 0.

    >>> judged(np.array([2.0, 2.0]), ratio=False, above=1.0, below=None).verdict
    'reproduced'
    """
    values = np.asarray(values, dtype=float)
    rows = over_seeds((np.log(values) if ratio else values)[None])
    mean, sd, n, low, high = (float(row[0]) for row in rows)
    scale = 1.0 if ratio else scale
    # The same in all seeds: an interval of rounding would decide what only its digits say.
    if sd <= EXACT * max(scale, abs(mean)):
        mean = 0.0 if abs(mean) <= EXACT * scale else mean
        low = high = mean
    if ratio:
        mean, low, high = math.exp(mean), math.exp(low), math.exp(high)
    return Finding(mean, low, high, int(n), verdict(low, high, above, below))


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
    judged_parts = [part for part in verdicts if part != REPORTED]
    if CONTRADICTED in judged_parts:
        return CONTRADICTED
    return REPRODUCED if judged_parts and set(judged_parts) == {REPRODUCED} else UNDECIDED

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
    mine: np.ndarray, other: np.ndarray | None, by: Literal["difference", "ratio"] | None
) -> np.ndarray:
    """One value a seed ``(S,)``: ``mine``, or ``mine - other``, or ``mine / other``; NaN where either is
    missing, and for ratios where either is not above 0."""
    if other is None:
        return mine
    if by == "difference":
        return mine - other
    there = (mine > 0) & (other > 0)
    return np.where(there, mine, np.nan) / np.where(there, other, np.nan)


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
    """
    values = np.asarray(values, dtype=float)
    mean, sd, n, low, high = (
        float(found[0]) for found in over_seeds((np.log(values) if ratio else values)[None])
    )
    scale = 1.0 if ratio else scale
    if sd <= EXACT * max(
        scale, abs(mean)
    ):  # the same in all seeds: an interval of rounding would decide what only its digits say
        mean = 0.0 if abs(mean) <= EXACT * scale else mean
        low = high = mean
    if ratio:
        mean, low, high = math.exp(mean), math.exp(low), math.exp(high)
    return Finding(mean, low, high, int(n), verdict(low, high, above, below))


def verdict(low: float, high: float, above: float | None, below: float | None) -> str:
    """Where an interval lies: see :func:`judged`."""
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
    found = [each for each in verdicts if each != REPORTED]
    if CONTRADICTED in found:
        return CONTRADICTED
    return REPRODUCED if found and all(each == REPRODUCED for each in found) else UNDECIDED

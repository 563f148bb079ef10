"""Percentiles of examples, with intervals from order statistics: they hold for every continuous distribution,
and say so where there are too few examples for an end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import bdtr

from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import EQUAL, EXAMPLES, ORDER, TAIL
from latentrun.types import Estimate

UPPER = {"p95": 0.95, "p99": 0.99}


def quantile_interval(values, share: float, over: str = EXAMPLES, tail: float = TAIL) -> Estimate:
    """The percentile ``share`` of ``values (N,)``, interpolated linearly as numpy does, with the narrowest
    order statistics as ends that leave it out on each side with a chance of at most ``tail``.

    Of N independent draws, the number at or below the true percentile is binomial: the l-th smallest value
    exceeds it with chance P(B < l), the u-th smallest is not above it with chance P(B >= u). Where not even
    the least or the greatest value will do, that end is None: of 200 examples nothing bounds the 99.9
    percentile from above. Conover, Practical Nonparametric Statistics (1999), section 3.2.

    >>> found = quantile_interval(np.arange(1.0, 201.0), 0.999)
    >>> found.low, found.high
    (199.0, None)
    """
    ordered = np.sort(np.asarray(torch.as_tensor(values).double().flatten().cpu()))
    n = len(ordered)
    if n == 0 or not np.isfinite(ordered).all():
        value = float(np.quantile(ordered, share)) if n else math.nan
        return Estimate(value, method="none: not finite" if n else f"none: no {over}")
    value = float(np.quantile(ordered, share))
    if ordered[0] == ordered[-1]:
        return Estimate(value, method=f"{EQUAL} in all {n} {over}")
    below, above = ranks(n, share, tail)
    low = None if below < 1 else min(float(ordered[below - 1]), value)
    high = None if above > n else max(float(ordered[above - 1]), value)
    kind = f"{ORDER} over {over}"
    if low is None and high is None:
        return Estimate(value, method=f"none: {n} {over} are too few")
    if low == high:  # so many are equal that every order statistic between the ends is the same
        return Estimate(value, method=f"{EQUAL} whichever {over} are drawn")
    return Estimate(value, low, high, kind)


def ranks(n: int, share: float, tail: float = TAIL) -> tuple[int, int]:
    """The ranks, from 1, of the ends of :func:`quantile_interval`; 0 and n + 1 for ends that are not there.

    >>> ranks(100, 0.5)
    (40, 61)
    """
    counts = np.arange(n + 1)
    at_most = bdtr(counts, n, share)  # P(B <= k)
    low = int((at_most <= tail).sum())  # the greatest l with P(B <= l - 1) <= tail
    reached = np.flatnonzero(at_most >= 1 - tail)  # the least u with P(B <= u - 1) >= 1 - tail
    return low, int(reached[0]) + 1 if len(reached) else n + 1


def mean_and_tail(values, shares: Mapping[str, float] = UPPER, over: str = EXAMPLES) -> dict[str, Estimate]:
    """``mean`` and the percentiles named by ``shares`` of ``values (N,)``, each with its interval."""
    tail = {name: quantile_interval(values, share, over) for name, share in shares.items()}
    return {"mean": mean_interval(values, over), **tail}


def quantile_ratio(values, above: float, below: float, over: str = EXAMPLES) -> Estimate:
    """The percentile ``above`` over the percentile ``below`` of positive ``values (N,)``.

    Interval: least over greatest and greatest over least end of the two, each at 97.5 %: it covers at least
    95 % (Bonferroni), whatever the dependence; an end that one of them lacks is None. NaN where the lower
    percentile is 0.
    """
    top, bottom = (quantile_interval(values, share, over, TAIL / 2) for share in (above, below))
    if not bottom.value > 0:
        return Estimate(math.nan, method="none: not finite")
    low = None if top.low is None or bottom.high is None else top.low / bottom.high
    high = None if top.high is None or not bottom.low else top.high / bottom.low
    value = top.value / bottom.value
    if low is None and high is None:
        method = top.method if top.method.startswith("none") else bottom.method
        return Estimate(value, method=method if method.startswith("none") else f"none: {over} are too few")
    return Estimate(value, low, high, f"{ORDER} over {over}")


def ratio_of_medians(above, below, over: str = EXAMPLES) -> Estimate:
    """The median of ``above (n,)`` over that of ``below (m,)``, independent sets of positive values.

    Interval: the logarithms' distances of each median from its ends, where order statistics put them, add in
    squares (MOVER; Donner & Zou 2012, Stat. Methods Med. Res. 21, eq. 8). A set of equal values has its
    median for certain: of a ratio that is 0, or of two such sets, nothing varies. NaN where the lower median
    is 0.
    """
    top, bottom = (quantile_interval(values, 0.5, over) for values in (above, below))
    if not bottom.value > 0:
        return Estimate(math.nan, method="none: a median is 0")
    value = top.value / bottom.value
    if top.method.startswith(EQUAL) and (value == 0 or bottom.method.startswith(EQUAL)):
        return Estimate(value, method=top.method)
    up, down, up_bottom, down_bottom = (*_log_reach(top), *_log_reach(bottom))
    if not math.isfinite(up + down + up_bottom + down_bottom):
        return Estimate(value, method=f"none: {over} are too few, or their median is near 0")
    low = value * math.exp(-math.hypot(down, up_bottom))
    high = value * math.exp(math.hypot(up, down_bottom))
    return Estimate(value, low, high, f"{ORDER} over {over}")


def _log_reach(estimate: Estimate) -> tuple[float, float]:
    """How far the logarithm of a value >= 0 lies below that of the upper end and above that of the lower:
    infinite for an end that is not known or is 0, 0 where the value was the same in all examples."""
    if estimate.method.startswith(EQUAL):
        return 0.0, 0.0
    if not (estimate.low and estimate.high and estimate.value):
        return math.inf, math.inf
    return math.log(estimate.high / estimate.value), math.log(estimate.value / estimate.low)

"""Intrinsic dimension of a cloud of points from the distances to nearest neighbours, at a stated scale.

Both estimators take the points around a point for a Poisson process of constant density on a flat space of d
dimensions: (T_j / T_k)^d, of the distances T_1 <= ... <= T_k to the nearest points, are then the order
statistics of uniform numbers. Curvature, borders and noise of the size of T_k break that: the estimate is a
function of scale.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import GAMMA
from latentrun.types import Estimate


def log_ratios(distances: Tensor, k: int) -> Tensor:
    """1/(k - 1) sum_{j<k} log(T_k / T_j) ``(N,)`` of ``distances (N, K)``, ascending, 2 <= k <= K: of
    expectation 1/d. Infinite where a neighbour is at distance 0 and the k-th is not; 0 where all k are.

    >>> log_ratios(torch.tensor([[1.0, 2.0, 4.0]]), 3)  # (log 4 + log 2) / 2
    tensor([1.0397], dtype=torch.float64)
    """
    near = distances[:, :k].double()
    logs = (near[:, -1:].log() - near[:, :-1].log()).nan_to_num(nan=0.0, posinf=torch.inf)
    return logs.mean(1)


def levina_bickel(distances: Tensor, k: int) -> Estimate:
    """The dimension at the scale of the k-th neighbour: the inverse of the mean of :func:`log_ratios` over
    the points at which they are finite and not 0, which have distinct neighbours.

    ``distances (N, K)`` to the nearest other points, ascending. Levina & Bickel (2004), eq. 8, with the
    estimates of all points averaged as MacKay & Ghahramani (2005) say, by their inverses (their mean is that
    of an exponential family; eq. 9 averages the estimates themselves and is larger by (k - 1)/(k - 2)).
    Interval: of that mean over points, Student's corrected for skewness, inverted; points that share
    neighbours depend on each other, so that it is too narrow for large k. NaN where no point counts.
    """
    inverse = log_ratios(distances, k)
    mean = mean_interval(inverse[torch.isfinite(inverse) & (inverse > 0)], over="points")
    if not mean.value > 0:
        return Estimate(math.nan, method=mean.method)
    low = None if mean.high is None else 1 / mean.high
    high = None if mean.low is None or mean.low <= 0 else 1 / mean.low
    return Estimate(1 / mean.value, low, high, mean.method)


def local_dimension(distances: Tensor, k: int) -> Tensor:
    """The dimension around each point ``(N,)`` at the scale of its k-th neighbour, k >= 3: (k - 2)/(k - 1)
    over :func:`log_ratios`, which is without bias (Levina & Bickel 2004, section 3.2); its standard deviation
    is d / sqrt(k - 3). 0 where a neighbour is at distance 0, NaN where all k are."""
    inverse = log_ratios(distances, k)
    return torch.where(inverse > 0, (k - 2) / ((k - 1) * inverse), torch.nan)


def two_nn(distances: Tensor) -> Estimate:
    """TwoNN: the dimension at the smallest scale, (n - 1) / sum log(T_2 / T_1) over the n points with 0 < T_1
    of ``distances (N, >= 2)``, ascending.

    Facco et al. (2017), whose law P(T_2/T_1 > r) = r^-d this is the estimate of greatest likelihood of,
    without bias; they fit a line to the distribution function without its last tenth instead. Interval: the
    sum times d has the gamma law of n, were the ratios independent (Denti et al. 2022); they are not where
    points are each other's nearest, and it covers 87 % (``scripts/bench/coverage``). NaN for n < 2.
    """
    from scipy.stats import gamma

    ratios = log_ratios(distances, 2)
    ratios = ratios[torch.isfinite(ratios) & (distances[:, 0] > 0)]
    n, total = len(ratios), ratios.sum().item()
    if n < 2 or not total > 0:
        return Estimate(math.nan, method="none: too few distinct points")
    low, high = (float(gamma(n).ppf(tail)) / total for tail in (0.025, 0.975))
    return Estimate((n - 1) / total, low, high, f"{GAMMA} over points")

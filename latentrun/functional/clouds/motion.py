"""How points move from one record to the next: lengths of steps, when they settle, how straight they go,
whether they go together.

Shapes: E records of N points in d dimensions, ``(E, N, d)``; between them E - 1 steps.
"""

from __future__ import annotations

import math

import torch
from scipy.special import stdtrit
from torch import Tensor

from latentrun.functional.statistics.methods import JACKKNIFE
from latentrun.types import Estimate


def step_lengths(u: Tensor) -> Tensor:
    """||u_e+1 - u_e|| / sqrt(d) of points ``(E, N, d)``: ``(E - 1, N)``, in the unit of u: 1 where every
    coordinate moves by 1.

    >>> step_lengths(torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]]))  # one point, two records
    tensor([[1.]])
    """
    return u.diff(dim=0).norm(dim=2) / math.sqrt(u.shape[2])


def settles_at(lengths: Tensor, limit: float) -> Tensor:
    """From how many steps on none is longer than ``limit``, ``lengths (..., T)``: whole numbers 0 ... T as
    float64 ``(...)``, T where the last one still is.

    >>> settles_at(torch.tensor([3.0, 1.0, 2.0, 1.0]), limit=1.5)
    tensor(3., dtype=torch.float64)
    """
    long = lengths > limit
    t = lengths.shape[-1]
    after = torch.arange(1, t + 1, device=lengths.device) * long
    return after.amax(-1).double() if t else torch.zeros(lengths.shape[:-1], dtype=torch.float64)


def straightness(u: Tensor) -> Tensor:
    """||u_E - u_1|| / sum_e ||u_e+1 - u_e|| of each point: ``(N,)`` in [0, 1], 1 on a straight line, NaN
    where it never moved.

    The more often a crooked path is recorded, the longer and the less straight it is.

    >>> straightness(torch.tensor([[[0.0]], [[3.0]], [[2.0]]]))  # 3 ahead, 1 back
    tensor([0.5000])
    """
    path = u.diff(dim=0).norm(dim=2).sum(0)
    return (u[-1] - u[0]).norm(dim=1) / torch.where(path > 0, path, math.nan)


def rigid_share(before: Tensor, after: Tensor) -> Tensor:
    """The share of the points' mean squared step that one rotation (or reflection) and shift of all of them
    explains.

    ``before``, ``after (..., N, d)``; 1 - min over orthogonal R and shifts t of sum_n ||x_n R + t - y_n||² /
    sum_n ||x_n - y_n||²: ``(...)`` in [0, 1], NaN where nothing moved. R of the orthogonal Procrustes problem
    (Schönemann 1966). Of steps at random it explains about (d + 1) / (2 N): it is fitted to the points it is
    judged by.
    """
    x, y = before - before.mean(-2, keepdim=True), after - after.mean(-2, keepdim=True)
    u, _, v = torch.linalg.svd(x.mT @ y, full_matrices=False)
    left = (x @ (u @ v) - y).square().sum((-2, -1))
    total = (before - after).square().sum((-2, -1))
    return (1 - left / torch.where(total > 0, total, math.nan)).clamp(0, 1)


def rigid_estimate(before: Tensor, after: Tensor, groups: int = 20) -> Estimate:
    """:func:`rigid_share` of points ``(N, d)`` in any order without meaning, freed of its excess in 1 / N by
    the jackknife over groups of points, with Student's 95 % interval from these; NaN where nothing moved. A
    bootstrap would not do: of points that occur twice one motion explains more."""
    share, n = rigid_share(before, after).item(), len(before)
    groups = min(groups, n)
    if not math.isfinite(share) or groups < 3:
        return Estimate(share, method="none: fewer than three groups of points")
    group = torch.arange(n, device=before.device) % groups
    shares = [rigid_share(before[group != g], after[group != g]) for g in range(groups)]
    without = torch.stack(shares).double()
    value = groups * share - (groups - 1) * without.mean().item()
    half = float(stdtrit(groups - 1, 0.975)) * math.sqrt((groups - 1) * without.var(correction=0).item())
    value, low, high = (min(max(end, 0.0), 1.0) for end in (value, value - half, value + half))
    return Estimate(value, low, high, f"{JACKKNIFE} over groups of points")

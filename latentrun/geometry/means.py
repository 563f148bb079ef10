"""Means of points on a surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.geometry.curves import initial_velocity
from latentrun.geometry.energy import Geodesics, Settings
from latentrun.geometry.flow import shoot
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import shortest
from latentrun.geometry.surface import Surface

SHOTS = 12  # Runge-Kutta steps of an exponential map


@dataclass(frozen=True)
class Means:
    """K points ``(K, d)``, their mean squared geodesic distance ``(K,)`` to the points of their group,
    ``left (K,)``: the length of the last step that was wanted as a share of the root of that, and
    ``converged (K,)``: it is below the tolerance, and all geodesics have converged."""

    points: Tensor
    variance: Tensor
    left: Tensor
    converged: Tensor


def frechet_means(
    surface: Surface,
    points: Tensor,
    group: Tensor,
    first: Tensor,
    settings: Settings,
    graph: Graph | None = None,
    steps: int = 10,
    tolerance: float = 1e-3,
) -> Means:
    """Of each group k the point m_k with the least sum of squared geodesic distances to its points, by steps
    down the Riemannian gradient, m <- exp_m(s mean_i log_m(x_i)), from ``first (K, d)`` on; s = 1, half as
    long where the last step made the sum no less (Pennec 2006, J. Math. Imaging Vis. 25, 127). All points at
    once.

    ``points (N, d)``, ``group (N,)`` in 0 ... K - 1. A geodesic of no finite length counts in nothing; a
    group without points stays where it is.

    >>> from latentrun.geometry.surface import Immersed
    >>> x = torch.tensor([[0.0, 0.0], [4.0, 2.0]])
    >>> plane = Immersed(lambda z: 2 * z, 2)
    >>> means = frechet_means(plane, x, torch.zeros(2, dtype=torch.long), x[:1], Settings())
    >>> means.points.round(decimals=3)
    tensor([[2., 1.]])
    """
    count = len(first)
    best = first.clone()
    variance = first.new_full((count,), torch.inf)
    done = torch.zeros(count, dtype=torch.bool, device=first.device)
    left, share, trial = variance.clone(), first.new_ones(count), best.clone()
    step, complete = torch.zeros_like(best), done.clone()
    for _ in range(steps):
        found = shortest(surface, trial[group], points, settings, graph)
        value, velocity, whole = _group_means(found, group, count)
        better = value < variance
        best[better], variance[better], step[better] = trial[better], value[better], velocity[better]
        complete[better] = whole[better]
        share = torch.where(better, 1.0, 0.5 * share)
        size = torch.einsum("ki,kij,kj->k", step, surface.metric(best), step).clamp_min(0).sqrt()
        left = size / variance.sqrt().clamp_min(torch.finfo(best.dtype).tiny)
        done = ~(left > tolerance)
        if done.all():
            break
        trial = _moved(surface, best, step * share.unsqueeze(1))
    return Means(best, variance, left, done & complete)


def _group_means(found: Geodesics, group: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared length ``(K,)`` and mean initial velocity ``(K, d)`` of the geodesics of each group, and
    whether all of them have converged ``(K,)``."""
    usable = torch.isfinite(found.length)
    length, velocity = found.length[usable], initial_velocity(found.curve[usable])
    group_of, rows = group[usable], velocity.new_zeros(count)
    number = rows.index_add(0, group_of, torch.ones_like(length)).clamp_min(1)
    value = rows.index_add(0, group_of, length.square()) / number
    pull = velocity.new_zeros(count, velocity.shape[1]).index_add(0, group_of, velocity)
    failures = found.length.new_zeros(count).index_add(0, group, (~found.converged).to(found.length))
    return value, pull / number.unsqueeze(1), failures == 0


def _moved(surface: Surface, z: Tensor, step: Tensor) -> Tensor:
    """exp_z(step) ``(K, d)``; along the chart where it does not arrive."""
    shots = shoot(surface, z, step, SHOTS)
    arrived = shots.converged & torch.isfinite(shots.end).all(1)
    return torch.where(arrived.unsqueeze(1), shots.end, z + step)

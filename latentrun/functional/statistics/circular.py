"""Angles: how two hang together, and how often a closed curve goes round. In radians."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.types import Estimate

UNIFORM = 3.0  # n R² below which n angles may be uniform: p = 0.05 of Rayleigh's test, exp(-n R²)
LINE = 1e-3  # a curve whose width is less than this share of its length has no inside


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi).

    >>> wrapped(torch.tensor([4.0, -1.0]))
    tensor([-2.2832, -1.0000])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def circular_correlation(a: Tensor, b: Tensor, noise: Noise, resamples: int) -> Estimate:
    """|rho| of angles ``a, b (N,)`` in [0, 1], whatever the origin and sense of either, with its bootstrap
    interval over examples: 1 where one is the other, turned or mirrored; 0 where they are independent.

    rho = sum sin(a - mean a) sin(b - mean b) / sqrt(sum sin²(a - mean a) sum sin²(b - mean b)) with mean
    directions (Jammalamadaka & SenGupta 2001, Topics in Circular Statistics, eq. 8.2.2). An angle that is
    uniform has no mean direction: where either may be (Rayleigh's test), rho = R(a - b) - R(a + b) with the
    lengths R of the mean of exp(i .), what the formula comes to then (their eq. 8.2.4).
    """
    a, b = a.double(), b.double()
    alike = any(len(angle) * resultant(angle).square() < UNIFORM for angle in (a, b))
    if alike:
        columns = torch.cat([unit(a - b), unit(a + b)], 1)

        def statistic(means: Tensor) -> Tensor:
            minus, plus = means[:, :2].norm(dim=1), means[:, 2:].norm(dim=1)
            return (minus - plus).abs().unsqueeze(1)
    else:
        # Around fixed mean directions: of angles that have one it hardly moves.
        x, y = (torch.sin(angle - direction(angle)) for angle in (a, b))
        columns = torch.stack([x * y, x.square(), y.square()], 1)

        def statistic(means: Tensor) -> Tensor:
            return (means[:, :1] / (means[:, 1:2] * means[:, 2:]).sqrt()).abs()

    found = bootstrap_means(statistic, columns, noise, resamples)[0]
    ends = (None if end is None else min(max(end, 0.0), 1.0) for end in (found.low, found.high))
    low, high = ends
    return Estimate(min(found.value, 1.0), low, high, found.method)


def unit(angle: Tensor) -> Tensor:
    """``(N, 2)`` cosine and sine."""
    return torch.stack([angle.cos(), angle.sin()], 1)


def resultant(angle: Tensor) -> Tensor:
    """Length R of the mean of unit vectors, in [0, 1]: 1 where all angles are one."""
    return unit(angle).mean(0).norm()


def direction(angle: Tensor) -> Tensor:
    """The mean direction."""
    cosine, sine = unit(angle).mean(0)
    return torch.atan2(sine, cosine)


# ---------------------------------------------------------------- closed curves
def main_plane(points: Tensor) -> tuple[Tensor, Tensor]:
    """The centre ``(d,)`` of points ``(N, d)`` and the plane ``(2, d)`` in which they spread most; rows of 0
    where they have no second direction, as on a line."""
    points = points.double()
    centre = points.mean(0)
    plane = points.new_zeros(2, points.shape[1])
    _, size, axes = torch.linalg.svd(points - centre, full_matrices=False)
    rank = int((size > LINE * size[0]).sum()) if len(size) and size[0] > 0 else 0
    if rank > 1:
        plane[:] = axes[:2]
    return centre, plane


def angle_in(points: Tensor, centre: Tensor, plane: Tensor) -> Tensor:
    """Angle ``(N,)`` around the centre of points ``(N, d)``, seen in the plane; 0 where there is none."""
    across = (points.double() - centre) @ plane.T
    return torch.atan2(across[:, 1], across[:, 0])


def winding(angle: Tensor) -> Tensor:
    """How often a closed curve goes round, with sign, from the angles ``(..., T)`` of its points in order, of
    which the last is followed by the first: the sum of steps, each the short way round, over 2 pi; a whole
    number.

    >>> winding(torch.tensor([0.0, 2.0, 4.0])), winding(torch.tensor([0.0, 1.0, 0.5]))
    (tensor(1.), tensor(0.))
    """
    steps = wrapped(torch.cat([angle[..., 1:], angle[..., :1]], -1) - angle)
    return (steps.sum(-1) / (2 * math.pi)).round() + 0.0

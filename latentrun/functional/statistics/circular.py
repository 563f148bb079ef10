"""Angles: how two hang together, and how often a closed curve goes round. In radians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from latentrun.types import Factor

UNIFORM = 3.0  # n R² below which n angles may be uniform: p = 0.05 of Rayleigh's test, exp(-n R²)
STILL = 1e-9  # of 1 - R: an angle that varies by less is one angle
LINE = 1e-3  # a curve whose width is less than this share of its length has no inside


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi).

    >>> wrapped(torch.tensor([4.0, -1.0]))
    tensor([-2.2832, -1.0000])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def circular_correlation(a: Tensor, b: Tensor) -> Tensor:
    """|rho| ``(...)`` of angles ``a, b (..., N)`` in [0, 1], whatever the origin and sense of either: 1 where
    one is the other, turned or mirrored; 0 where they are independent, and where one of them stands still.

    rho = sum sin(a - mean a) sin(b - mean b) / sqrt(sum sin²(a - mean a) sum sin²(b - mean b)) with mean
    directions (Jammalamadaka & SenGupta 2001, Topics in Circular Statistics, eq. 8.2.2). An angle that is
    uniform has none: where either may be (Rayleigh's test), the origins are those that make the numerator
    n/2 [R(a - b) - R(a + b)], R the length of the mean of exp(i .) (their eq. 8.2.4).

    >>> turn = torch.arange(8) * torch.pi / 4
    >>> circular_correlation(1.0 - turn, turn), circular_correlation(2 * turn, turn).round(decimals=5)
    (tensor(1., dtype=torch.float64), tensor(0., dtype=torch.float64))
    """
    a, b = torch.broadcast_tensors(a.double(), b.double())
    uniform = torch.zeros(a.shape[:-1], dtype=torch.bool, device=a.device)
    for angle in (a, b):
        uniform |= angle.shape[-1] * resultant(angle).square() < UNIFORM
    x, y = (torch.sin(angle - direction(angle).unsqueeze(-1)) for angle in (a, b))
    squares = x.square().mean(-1) * y.square().mean(-1)
    rho = torch.where(uniform, _of_uniform(a, b), (x * y).mean(-1) / squares.sqrt())
    still = (resultant(a) > 1 - STILL) | (resultant(b) > 1 - STILL)
    return torch.where(still, 0.0, rho.abs().clamp_max(1.0))


def _of_uniform(a: Tensor, b: Tensor) -> Tensor:
    """rho ``(...)`` of angles ``(..., N)``, with the origins that suit uniform ones."""
    minus, plus, twice_a, twice_b = (unit(angle).mean(-2) for angle in (a - b, a + b, 2 * a, 2 * b))
    between, around = (torch.atan2(mean[..., 1], mean[..., 0]) for mean in (minus, plus))
    # The origins of a and b are half the sum and half the difference of these.
    origin_a, origin_b = unit(around + between), unit(around - between)
    squares = (1 - (twice_a * origin_a).sum(-1)) * (1 - (twice_b * origin_b).sum(-1))
    return (minus.norm(dim=-1) - plus.norm(dim=-1)) / squares.sqrt()


def unit(angle: Tensor) -> Tensor:
    """``(..., 2)`` cosine and sine of angles ``(...)``."""
    return torch.stack([angle.cos(), angle.sin()], -1)


def resultant(angle: Tensor) -> Tensor:
    """Length R ``(...)`` of the mean of the unit vectors of ``(..., N)``, in [0, 1]: 1 where all angles are
    one."""
    return unit(angle).mean(-2).norm(dim=-1)


def direction(angle: Tensor) -> Tensor:
    """The mean direction ``(...)`` of angles ``(..., N)``."""
    cosine, sine = unit(angle).mean(-2).unbind(-1)
    return torch.atan2(sine, cosine)


def factor_distance(a: Tensor, b: Tensor, factors: Sequence[Factor]) -> Tensor:
    """Distance ``(N,)`` of factors ``a, b (N, F)``: root of the summed squares of their differences, each as
    a share of the factor's range, of cyclic ones the short way round.

    >>> from torch import tensor
    >>> factor_distance(tensor([[350.0]]), tensor([[10.0]]), [Factor("angle", "cyclic", 0.0, 360.0)])
    tensor([0.0556])
    """
    width = a.new_tensor([factor.high - factor.low or 1.0 for factor in factors])
    share = ((a - b) / width).abs()
    around = torch.tensor([factor.kind == "cyclic" for factor in factors], device=a.device)
    return torch.where(around, torch.minimum(share % 1, 1 - share % 1), share).norm(dim=1)


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


def main_line(points: Tensor) -> Tensor:
    """The direction ``(1, d)`` in which points ``(N, d)`` spread most, its largest component positive.

    >>> main_line(torch.tensor([[1.0], [3.0]]))
    tensor([[1.]], dtype=torch.float64)
    """
    points = points.double()
    axis = torch.linalg.svd(points - points.mean(0), full_matrices=False).Vh[:1]
    return axis * axis[0, axis[0].abs().argmax()].sign() + 0.0


def angle_in(points: Tensor, centre: Tensor, plane: Tensor) -> Tensor:
    """Angle ``(N,)`` around the centre of points ``(N, d)``, seen in the plane; 0 where there is none."""
    across = (points.double() - centre) @ plane.T + 0.0  # of -0 the angle would be pi
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

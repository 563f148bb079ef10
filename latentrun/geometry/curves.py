"""Curves between given ends, as functions of a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ONE_SIDED = (-25 / 12, 4.0, -3.0, 4 / 3, -1 / 4)  # derivative at the first of five points, order 4


@dataclass(frozen=True)
class Basis:
    """P curves c_p(t) = (1 - t) a_p + t b_p + sum_k B_k(t) theta_pk with ends a, b and ``theta (P, K, d)``.

    ``values (T, K)``: B at the T times ``t (T,)`` from 0 to 1, 0 at both ends.
    """

    t: Tensor
    values: Tensor

    def curves(self, start: Tensor, end: Tensor, theta: Tensor) -> Tensor:
        """Points ``(P, T, d)``."""
        t = self.t.view(1, -1, 1)
        return (1 - t) * start.unsqueeze(1) + t * end.unsqueeze(1) + self.values @ theta

    def fit(self, curve: Tensor) -> Tensor:
        """theta ``(P, K, d)`` of the curves nearest to points ``(P, T, d)`` at the same times, by least
        squares."""
        t = self.t.view(1, -1, 1)
        rest = curve - (1 - t) * curve[:, :1] - t * curve[:, -1:]
        return torch.linalg.lstsq(self.values.expand(len(curve), -1, -1), rest).solution


def spline(pieces: int, times: int, like: Tensor) -> Basis:
    """Cubic splines of so many equal pieces, at ``times`` evenly spaced times; K = ``pieces`` + 1.

    B-splines of degree 3 with equal knots, repeated at the ends: continuous to the second derivative. The
    first and the last, which alone do not vanish at an end, are left out: the straight line has the ends.

    >>> spline(2, 5, torch.zeros(())).values[[0, -1]].abs().max()  # 0 at both ends
    tensor(0.)
    """
    # On the CPU: not every device has float64.
    t = torch.linspace(0, 1, times, dtype=torch.float64, device="cpu")
    inner = torch.linspace(0, 1, pieces + 1, dtype=torch.float64, device="cpu")
    knots = torch.cat([inner.new_zeros(3), inner, inner.new_ones(3)])
    return Basis(t.to(like), _b_splines(t, knots, 3)[:, 1:-1].to(like))


def _b_splines(t: Tensor, knots: Tensor, degree: int) -> Tensor:
    """All B-splines of a knot vector at times ``(T,)``, by the recursion of Cox and de Boor; those of
    repeated end knots: the first and the last alone do not vanish at the ends."""
    left, right = knots[:-1], knots[1:]
    b = ((t[:, None] >= left) & (t[:, None] < right)).double()
    last = int((right > left).nonzero()[-1])
    b[t >= knots[-1], last] = 1.0
    for k in range(1, degree + 1):
        count = len(knots) - k - 1
        rise, fall = knots[k : k + count] - knots[:count], knots[k + 1 :][:count] - knots[1 : count + 1]
        up = torch.where(rise > 0, (t[:, None] - knots[:count]) / rise.clamp_min(1e-30), 0.0)
        down = torch.where(fall > 0, (knots[k + 1 :][:count] - t[:, None]) / fall.clamp_min(1e-30), 0.0)
        b = up * b[:, :count] + down * b[:, 1 : count + 1]
    return b


def straight(start: Tensor, end: Tensor, times: int) -> Tensor:
    """Straight lines ``(P, times, d)`` from ``start`` to ``end (P, d)``, at evenly spaced times."""
    t = torch.linspace(0, 1, times, dtype=start.dtype, device=start.device).view(1, -1, 1)
    return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), t)


def resampled(curve: Tensor, times: int) -> Tensor:
    """Curves ``(P, T, d)`` at another number of times ``(P, times, d)``, straight between their points."""
    return torch.nn.functional.interpolate(curve.mT, times, mode="linear", align_corners=True).mT


def initial_velocity(curve: Tensor) -> Tensor:
    """c'(0) ``(P, d)`` of curves ``(P, T, d)`` at T >= 5 even times from 0 to 1; of a geodesic the logarithm
    of its end at its beginning.

    >>> t = torch.linspace(0, 1, 9)[None, :, None]
    >>> initial_velocity(3 * t + t**2).round(decimals=3)
    tensor([[3.]])
    """
    weights = torch.tensor(ONE_SIDED, dtype=curve.dtype, device=curve.device)
    return torch.einsum("t,ptd->pd", weights, curve[:, :5]) * (curve.shape[1] - 1)

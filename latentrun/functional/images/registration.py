"""The rigid motion that brings one picture nearest to another, for many pairs of pictures at once.

>>> x = torch.zeros(1, 1, 9, 9)
>>> x[..., 3:6, 4:7] = 1.0  # a square right of the middle
>>> motion = align(x, x.roll(-1, dims=3), shift=2.0, angle=5.0)  # made one pixel too far left
>>> motion.shift.round(decimals=3), motion.plain.item() > 2, motion.aligned.item() < 1e-3
(tensor([[1., 0.]], dtype=torch.float64), True, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import CubicSpline
from torch import Tensor

from latentrun.functional.least_squares import levenberg_marquardt

FINE = 4  # points a pixel spacing at which the cubic spline through a picture is tabulated
BUDGET = 1 << 24  # numbers of that table held at once
ROUNDING = 1e-6  # an error that is lower by no more than this share is the same error
# Share of ||x||^2 that a start must be better by for each squared pixel it moves: a disc may be turned any
# way.
TIE = 1e-6


@dataclass(frozen=True)
class Alignment:
    """Per pair: ``shift (N, 2)`` px to the right and upwards, ``angle (N,)`` degrees counter-clockwise,
    ``plain (N,)`` and ``aligned (N,)`` = ||x - x_hat||_F before and after, in units of x, float64; ``moved
    (N, C, H, W)`` the moved pictures."""

    shift: Tensor
    angle: Tensor
    plain: Tensor
    aligned: Tensor
    moved: Tensor


@torch.no_grad()
def align(x: Tensor, made: Tensor, shift: float, angle: float) -> Alignment:
    """arg min ||x_i - T made_i||_F over rigid motions T, for pictures ``(N, C, H, W)``, each on its own.

    (T m)(p) = m(c + R(-a) (p - c - s)): m is turned by a about the middle c of the frame, then moved by s;
    |s_x|, |s_y| <= ``shift`` pixels, |a| <= ``angle`` degrees. Between pixels m is its interpolating cubic
    spline (not-a-knot), tabulated at ``FINE`` points a pixel and linear between these; beyond the frame the
    nearest pixel of its edge. All pixels count: an error over the overlap alone would fall with every pixel
    that leaves. The identity is a candidate, so ``aligned`` never exceeds ``plain``.

    Search: whole-pixel shifts at angles about a pixel apart at the edge; from the best Levenberg &
    Marquardt's method. The answer is a local minimum. Any picture with three free parameters gains something,
    also where nothing was displaced.
    """
    n, c, h, w = made.shape
    cells = 3 * c * (FINE * (h - 1) + 1) * (FINE * (w - 1) + 1)
    parts = zip(x.split(step := max(1, BUDGET // cells)), made.split(step), strict=True)
    aligned = [_align(a.float(), b.float(), shift, math.radians(angle)) for a, b in parts]
    return Alignment(*(torch.cat(columns) for columns in zip(*aligned, strict=True)))


def _align(x: Tensor, made: Tensor, shift: float, angle: float) -> tuple[Tensor, ...]:
    search = _Search(x, made)
    box = x.new_tensor([shift, shift, angle * search.arm])
    start = search.coarse(shift, angle)
    fit = levenberg_marquardt(search.normal, start, -box, box, iterations=50, tolerance=1e-4)
    moved = search.move(fit.theta)
    plain, aligned = ((x.double() - other.double()).flatten(1).norm(dim=1) for other in (made, moved))
    better = aligned < plain * (1 - ROUNDING)
    theta = fit.theta.double() * better[:, None]
    moved = torch.where(better[:, None, None, None], moved, made)
    turned = torch.rad2deg(theta[:, 2] / search.arm)
    return theta[:, :2], turned, plain, torch.where(better, aligned, plain), moved


class _Search:
    """Least squares over theta = (s_x, s_y, arm a), all in pixels: ``arm`` is a quarter of the frame's
    diagonal."""

    def __init__(self, x: Tensor, made: Tensor):
        self.x, self.made, (self.h, self.w) = x, made, made.shape[2:]
        self.arm = math.hypot(self.h, self.w) / 4
        self.half = x.new_tensor([max(self.w - 1, 1) / 2, max(self.h - 1, 1) / 2])
        rows, columns = (tuple(table.to(x) for table in _spline(side)) for side in (self.h, self.w))
        value = rows[0] @ made @ columns[0].T
        right, up = rows[0] @ made @ columns[1].T, -(rows[1] @ made @ columns[0].T)
        self.table = torch.cat([value, right, up], 1)

    def frame(self, margin: int = 0) -> Tensor:
        """Places of pixels, to the right of and above the middle: ``(H, W, 2)``, with ``margin`` pixels
        around them."""
        u = torch.arange(-margin, self.w + margin).to(self.x) - (self.w - 1) / 2
        v = (self.h - 1) / 2 - torch.arange(-margin, self.h + margin).to(self.x)
        return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)

    def places(self, theta: Tensor, frame: Tensor) -> Tensor:
        """Where the motions ``(n, 3)`` read the picture: ``(n, H, W, 2)``."""
        cos, sin = (f(theta[:, 2] / self.arm)[:, None, None] for f in (torch.cos, torch.sin))
        u, v = (frame - theta[:, None, None, :2]).unbind(-1)
        return torch.stack([cos * u + sin * v, cos * v - sin * u], -1)

    def read(self, table: Tensor, places: Tensor) -> Tensor:
        """Values ``(n, C, H, W)`` of a ``table (n, C, ...)`` at ``places (n, H, W, 2)``."""
        grid = places / self.half * places.new_tensor([1.0, -1.0])
        return F.grid_sample(table, grid, align_corners=True, padding_mode="border")

    def move(self, theta: Tensor) -> Tensor:
        """The moved pictures ``(n, C, H, W)``."""
        return self.read(self.table[:, : self.made.shape[1]], self.places(theta, self.frame()))

    def coarse(self, shift: float, angle: float) -> Tensor:
        """theta ``(n, 3)`` of least error among whole-pixel shifts at evenly spaced angles."""
        reach, turns = math.floor(shift), math.ceil(angle * max(self.h, self.w) / 2)
        best = torch.full_like(self.x[:, 0, 0, 0], torch.inf)
        theta, frame = self.x.new_zeros(len(self.x), 3), self.frame(reach)
        tie = TIE * self.x.flatten(1).square().sum(1)
        for a in torch.linspace(-angle, angle, 2 * turns + 1).tolist():
            turned = theta.new_tensor([[0.0, 0.0, a * self.arm]])
            # One motion for all: pictures as channels share the arithmetic of the places.
            wide = self.read(self.made.flatten(0, 1)[None], self.places(turned, frame))
            wide = wide.view(*self.made.shape[:2], *frame.shape[:2])
            for sx in range(-reach, reach + 1):
                for sy in range(-reach, reach + 1):
                    moved = wide[:, :, reach + sy : reach + sy + self.h, reach - sx : reach - sx + self.w]
                    move = theta.new_tensor([sx, sy, a * self.arm])
                    cost = (self.x - moved).square().flatten(1).sum(1) + tie * move.square().sum()
                    better = cost < best
                    best, theta = torch.where(better, cost, best), torch.where(better[:, None], move, theta)
        return theta

    def normal(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1/2 ||T m - x||^2, J^T r, J^T J)."""
        places = self.places(theta, self.frame())
        table = self.table if len(rows) == len(self.table) else self.table[rows]
        value, right, up = self.read(table, places).chunk(3, 1)
        # Beyond the edge the picture goes on unchanged.
        across, along = (places.abs() <= self.half).unbind(-1)
        right, up = right * across[:, None], up * along[:, None]
        cos, sin = (f(theta[:, 2] / self.arm)[:, None, None, None] for f in (torch.cos, torch.sin))
        qx, qy = places[:, None].unbind(-1)
        turn = (right * qy - up * qx) / self.arm
        jacobian = torch.stack([up * sin - right * cos, -right * sin - up * cos, turn], 1).flatten(2)
        r = (value - self.x[rows]).flatten(1)
        return 0.5 * r.square().sum(1), torch.einsum("npk,nk->np", jacobian, r), jacobian @ jacobian.mT


@cache
def _spline(side: int) -> tuple[Tensor, Tensor]:
    """Matrices ``(FINE (side - 1) + 1, side)`` that give a cubic spline's values and slopes at the points of
    the table."""
    if side < 2:
        return torch.ones(1, 1), torch.zeros(1, 1)
    at = np.arange(FINE * (side - 1) + 1) / FINE
    spline = CubicSpline(np.arange(side), np.eye(side))
    return torch.from_numpy(spline(at)), torch.from_numpy(spline(at, 1))

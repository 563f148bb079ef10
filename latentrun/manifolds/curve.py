"""Curves in the plane and in space, by arc length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentrun.manifolds.angles import TURN
from latentrun.manifolds.base import Charted
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

TABLE = 512  # pieces in which a curve is tabled
STARTS = 3  # of the search for a nearest point: a crossing at the ends of a closed curve is there three times
STEPS = 6  # of Newton's method, from each
CHUNK = 4096  # rows whose distances to the table are held at once


@dataclass(frozen=True)
class Formula:
    """x(t) = sum_j (a_j + b_j t) cos(k_j t + phi_j) for t in [first, last], in R^a.

    ``terms``: for each j the frequency k, the phase phi in radians, and the vectors a and b. ``closed``: x is
    the same, smoothly, at both ends. ``crossing``: two t at which x is the same beside that.
    """

    first: float
    last: float
    terms: tuple[tuple[float, float, tuple[float, ...], tuple[float, ...]], ...]
    closed: bool = False
    crossing: tuple[float, float] | None = None


QUARTER = math.pi / 2  # cos(t - pi/2) = sin(t)
FORMULAS = {
    # Archimedes' spiral of three half turns more than one: x = r (cos t, sin t), r = t / (5 pi).
    "spiral": Formula(
        math.pi,
        5 * math.pi,
        (
            (1, 0.0, (0, 0), (1 / (5 * math.pi), 0)),
            (1, -QUARTER, (0, 0), (0, 1 / (5 * math.pi))),
        ),
    ),
    # Two turns: x = (cos t, sin t, t / (2 pi) - 1).
    "helix": Formula(
        0.0,
        2 * TURN,
        (
            (1, 0.0, (1, 0, 0), (0, 0, 0)),
            (1, -QUARTER, (0, 1, 0), (0, 0, 0)),
            (0, 0.0, (0, 0, -1), (0, 0, 1 / TURN)),
        ),
    ),
    # x = (sin t + 2 sin 2t, cos t - 2 cos 2t, -sin 3t) / 3.
    "trefoil": Formula(
        0.0,
        TURN,
        (
            (1, -QUARTER, (1 / 3, 0, 0), (0, 0, 0)),
            (2, -QUARTER, (2 / 3, 0, 0), (0, 0, 0)),
            (1, 0.0, (0, 1 / 3, 0), (0, 0, 0)),
            (2, 0.0, (0, -2 / 3, 0), (0, 0, 0)),
            (3, -QUARTER, (0, 0, -1 / 3), (0, 0, 0)),
        ),
        closed=True,
    ),
    # Gerono's lemniscate: x = (sin t, sin t cos t), at t = 0 and pi the same point.
    "figure_eight": Formula(
        0.0,
        TURN,
        ((1, -QUARTER, (1, 0), (0, 0)), (2, -QUARTER, (0, 0.5), (0, 0))),
        closed=True,
        crossing=(0.0, math.pi),
    ),
}


class Curve(Charted):
    """One of the ``FORMULAS``, by its arc length s from 0 to ``length``: s(t) is the integral of |x'|, tabled
    in float64 (Simpson's rule on ``TABLE`` pieces) and inverted by Newton's method.

    Distances are lengths along it: of a closed curve the shorter way round, of one that crosses itself the
    shortest way through the crossing. (That makes no manifold of it at the crossing, where it has two
    tangents: exp goes straight on there, and cannot undo log of a way that turns off; :meth:`geodesic`
    can.) Paths end at the ends of an open curve. The nearest point: the best of those
    to which Newton's method leads from a few near places of the table.

    >>> round(Curve("helix").length, 6)  # two turns of sqrt(4 pi^2 + 1)
    12.72453
    """

    dim = 1

    def __init__(self, name: str):
        self.name, formula = name, FORMULAS[name]
        self.formula, self.closed = formula, formula.closed
        rows = [torch.tensor(column, dtype=torch.float64) for column in zip(*formula.terms, strict=True)]
        self._k, self._phi, self._a, self._b = rows
        self.ambient_dim, self.smooth = self._a.shape[1], 257
        self._t = torch.linspace(formula.first, formula.last, TABLE + 1, dtype=torch.float64)
        middle = (self._t[1:] + self._t[:-1]) / 2
        speed, between = self._speed(self._t), self._speed(middle)
        pieces = (speed[1:] + 4 * between + speed[:-1]) * self._t.diff() / 6
        self._s = torch.cat([torch.zeros(1, dtype=torch.float64), pieces.cumsum(0)])
        self.length = self._s[-1].item()
        self.log_volume = math.log(self.length)
        loops = int(self.closed) + (formula.crossing is not None)
        self.betti = (1, loops) if loops else (1,)
        self.coordinates = (Factor("arc_length", "cyclic" if self.closed else "real", 0.0, self.length),)
        self._table = self._x(self._t)
        crossing = formula.crossing
        self._crossing = None if crossing is None else self._arc(self._t.new_tensor(crossing))

    # ---------------------------------------------------------------- the formula and its arc length
    def _x(self, t: Tensor, derivative: int = 0) -> Tensor:
        """The curve, or its first or second derivative, ``(..., a)`` at ``t (...)``."""
        k, phi, a, b = (part.to(t) for part in (self._k, self._phi, self._a, self._b))
        angle = k * t.unsqueeze(-1) + phi
        cos, sin = angle.cos(), angle.sin()
        if derivative == 0:
            return cos @ a + t.unsqueeze(-1) * (cos @ b)
        if derivative == 1:
            return cos @ b - (k * sin) @ a - t.unsqueeze(-1) * ((k * sin) @ b)
        return -2 * (k * sin) @ b - (k * k * cos) @ a - t.unsqueeze(-1) * ((k * k * cos) @ b)

    def _speed(self, t: Tensor) -> Tensor:
        return self._x(t, 1).norm(dim=-1)

    def _piece(self, values: Tensor, table: Tensor) -> Tensor:
        """The number ``(...)`` of the piece of an ascending ``table (G,)`` in which values lie."""
        return torch.searchsorted(table, values.contiguous(), right=True).clamp(1, TABLE) - 1

    def _arc(self, t: Tensor) -> Tensor:
        """s at t: the table's, and Simpson's rule from its last place on."""
        known, s = self._t.to(t), self._s.to(t)
        i = self._piece(t, known)
        before = _entry(known, i)
        step = t - before
        speeds = self._speed(before) + 4 * self._speed(before + step / 2) + self._speed(t)
        return _entry(s, i) + step * speeds / 6

    def _time(self, s: Tensor) -> Tensor:
        """t at s."""
        known, arc = self._t.to(s), self._s.to(s)
        i = self._piece(s.detach(), arc)
        with torch.no_grad():
            left, right = _entry(known, i), _entry(known, i + 1)
            low, high = _entry(arc, i), _entry(arc, i + 1)
            t = left + (right - left) * (s - low) / (high - low)
            t = t - (self._arc(t) - s) / self._speed(t)
        # One step of Newton's, which is 0 here but for rounding, has the gradient.
        return t - (self._arc(t) - s) / self._speed(t)

    # ---------------------------------------------------------------- the space
    def project(self, z: Tensor) -> Tensor:
        return self._x(self._nearest(z))

    def _nearest(self, z: Tensor) -> Tensor:
        """t ``(...)`` of the nearest point."""
        with torch.no_grad():
            start = self._starts(z)
            width = (self.formula.last - self.formula.first) / TABLE
            t, goal = start, z.unsqueeze(-2)
            for _ in range(STEPS):
                t = (t - self._newton(t, goal)).clamp(start - width, start + width)
                t = t if self.closed else t.clamp(self.formula.first, self.formula.last)
            best = (self._x(t) - goal).square().sum(-1).argmin(-1, keepdim=True)
            t = t.gather(-1, best).squeeze(-1)
        moved = t - self._newton(t, z)
        inner = self.closed | ((t > self.formula.first) & (t < self.formula.last))
        return torch.where(inner, t + moved - moved.detach(), t)

    def _starts(self, z: Tensor) -> Tensor:
        """t ``(..., STARTS)`` of the nearest of those places of the table that are nearer than the ones
        beside them: where a curve comes near itself, another than the first may lead to the nearest point."""
        rows, table = z.reshape(-1, self.ambient_dim), self._table.to(z)
        best = []
        for part in rows.split(CHUNK):
            apart = torch.cdist(part, table)
            padded = torch.nn.functional.pad(apart, (1, 1), value=torch.inf)
            low = (apart <= padded[:, 2:]) & (apart <= padded[:, :-2])
            best.append(torch.where(low, apart, torch.inf).topk(STARTS, dim=-1, largest=False).indices)
        return _entry(self._t.to(z), torch.cat(best)).view((*z.shape[:-1], STARTS))

    def _newton(self, t: Tensor, z: Tensor) -> Tensor:
        """The step towards the least of |x(t) - z|²; where it bends the other way, Gauss and Newton's."""
        miss, slope, bend = self._x(t) - z, self._x(t, 1), self._x(t, 2)
        square = slope.square().sum(-1)
        curvature = square + (miss * bend).sum(-1)
        return (miss * slope).sum(-1) / torch.where(curvature > 0.1 * square, curvature, square)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ways(a, b)[1].abs().amin(-1)

    def _place(self, z: Tensor) -> Tensor:
        """s ``(...)`` of points of the curve; in [0, length) where it is closed."""
        t = self._nearest(z)
        if self.closed:
            t = self.formula.first + torch.remainder(t - self.formula.first, self._t[-1].item())
        return self._arc(t)

    def _round(self, step: Tensor) -> Tensor:
        """A difference of s by the shorter way."""
        return step - self.length * torch.round(step / self.length) if self.closed else step

    def _ways(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """s of ``a``; the ways to ``b``, as lengths ``(..., W)`` with the sign of their first step; and how
        much of each is gone when it turns off at the crossing. The first is that along the curve."""
        s, goal = torch.broadcast_tensors(self._place(a), self._place(b))
        direct = self._round(goal - s)
        if self._crossing is None:
            return s, direct.unsqueeze(-1), direct.unsqueeze(-1)
        doors = self._crossing.to(s)
        out, back = self._round(doors - s.unsqueeze(-1)), self._round(doors - goal.unsqueeze(-1))
        out, home = out.unsqueeze(-1).expand(*out.shape, 2), back.abs().unsqueeze(-2).expand(*out.shape, 2)
        through = torch.where(out < 0, -1.0, 1.0).to(s) * (out.abs() + home)
        ways = torch.cat([direct.unsqueeze(-1), through.flatten(-2)], dim=-1)
        return s, ways, torch.cat([direct.unsqueeze(-1), out.flatten(-2)], dim=-1)

    def _tangent(self, z: Tensor) -> Tensor:
        velocity = self._x(self._nearest(z), 1)
        return velocity / velocity.norm(dim=-1, keepdim=True)

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return self._at(self._place(z) + (v * self._tangent(z)).sum(-1))

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        _, ways, _ = self._ways(a, b)
        best = ways.abs().argmin(-1, keepdim=True)
        return ways.gather(-1, best) * self._tangent(a)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        s, ways, turns = self._ways(a, b)
        best = ways.abs().argmin(-1, keepdim=True)
        whole, turn = ways.gather(-1, best).squeeze(-1), turns.gather(-1, best).squeeze(-1)
        gone = t * whole
        if self._crossing is None:
            return self._at(s + gone)
        # Behind the crossing the way is told from its other end.
        goal = self._place(b)
        doors = self._crossing.to(s)
        through = (best.squeeze(-1) - 1).clamp_min(0) % 2
        leg = self._round(goal - doors[through])
        left = (whole.abs() - gone.abs()).clamp_min(0)
        late = (gone.abs() > turn.abs()) & (best.squeeze(-1) > 0)
        return self._at(torch.where(late, goal - leg.sign() * left, s + gone))

    def _at(self, s: Tensor) -> Tensor:
        s = torch.remainder(s, self.length) if self.closed else s.clamp(0, self.length)
        return self._x(self._time(s))

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        along = self._tangent(z)
        return (v * along).sum(-1, keepdim=True) * along

    def frame(self, z: Tensor) -> Tensor:
        return self._tangent(z).unsqueeze(-2)

    def drawn(self, z: Tensor) -> Tensor | None:
        return z

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.embed(noise.uniform(self.name, (n, 1)).double()).float()

    def embed(self, u: Tensor) -> Tensor:
        return self._at(self.length * u[..., 0])

    def unembed(self, z: Tensor) -> Tensor:
        return (self._place(z) / self.length).clamp(0, 1).unsqueeze(-1)


def _entry(table: Tensor, i: Tensor) -> Tensor:
    """``table[i]`` of a table ``(G,)``, also where ``i`` is one number under a transform."""
    return table[i.unsqueeze(-1)].squeeze(-1)

"""Flat pieces of the plane with a round border: the disc, and the disc with a hole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.functional.statistics.circular import unit
from latentrun.manifolds.angles import TURN, direction, length, root, share
from latentrun.manifolds.base import Charted, Flat
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

HOLE = 0.5  # inner radius of the annulus; the outer one is 1


class Disc(Flat, Charted):
    """The points of the plane with ``inner`` <= |z| <= 1, here without a hole: ``disc`` in short. Flat;
    distances are those of the plane. Paths end at the border.

    The chart is (r², angle): the square of the radius is what is uniform.

    >>> Disc().project(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """

    dim = ambient_dim = 2
    name, inner = "disc", 0.0
    betti = (1,)
    log_volume = math.log(math.pi)
    coordinates = (
        Factor("squared_radius", "real", 0.0, 1.0),
        Factor("angle", "cyclic", 0.0, TURN, "rad"),
    )

    def project(self, z: Tensor) -> Tensor:
        r = length(z).unsqueeze(-1)
        return torch.where(r > 1, F.normalize(z, dim=-1), z)

    def from_numbers(self, h: Tensor) -> Tensor:
        """h / sqrt(1 + |h|²)."""
        return h / (1 + h.square().sum(-1, keepdim=True)).sqrt()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return length(a - b)

    def drawn(self, z: Tensor) -> Tensor | None:
        return z

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.embed(noise.uniform(self.name, (n, 2)))

    def embed(self, u: Tensor) -> Tensor:
        r = root(self.inner**2 + (1 - self.inner**2) * u[..., :1])
        return r * unit(TURN * u[..., 1])

    def unembed(self, z: Tensor) -> Tensor:
        area = (z.square().sum(-1) - self.inner**2) / (1 - self.inner**2)
        return torch.stack([area.clamp(0, 1), share(z[..., 1], z[..., 0])], dim=-1)


class Annulus(Disc):
    """The plane between the circles of radius 1/2 and 1: ``annulus`` in short. Flat; a shortest path that
    the hole is in the way of runs along a tangent to it, along its edge, and along a tangent again.

    Shortest paths that touch the hole begin in one direction and part later, so no ``exp`` can undo ``log``
    for all points: this one follows a line until it meets the hole and then the hole's edge, whereby it
    reaches the points that are seen from ``z`` and those of the edge. :meth:`geodesic` reaches all.

    >>> Annulus().distance(torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0]))  # half round the hole
    tensor(1.5708)
    """

    name, inner, betti = "annulus", HOLE, (1, 1)
    log_volume = math.log(math.pi * (1 - HOLE**2))
    coordinates = (
        Factor("squared_radius", "real", HOLE**2, 1.0),
        Factor("angle", "cyclic", 0.0, TURN, "rad"),
    )

    def project(self, z: Tensor) -> Tensor:
        r = length(z).unsqueeze(-1)
        return torch.where((r < self.inner) | (r > 1), direction(z) * r.clamp(self.inner, 1), z)

    def from_numbers(self, h: Tensor) -> Tensor:
        """Along h, at the radius inner + (1 - inner) |h| / sqrt(1 + |h|²)."""
        inward = (1 - self.inner) * super().from_numbers(h)
        return self.inner * direction(h) + inward

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        reach = self._reach(a), self._reach(b)
        arc = self._arc(a, b, *reach)
        round_ = reach[0] + reach[1] + self.inner * arc
        return torch.where(arc > 0, round_, length(a - b))

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        arc = self._arc(a, b, self._reach(a), self._reach(b))
        first = self._touching(a, self._side(a, b))
        # From the edge itself the way is along it.
        onward = torch.stack([-a[..., 1], a[..., 0]], dim=-1) * self._side(a, b).unsqueeze(-1)
        way = torch.where((length(first - a) > 1e-6).unsqueeze(-1), first - a, onward)
        far = F.normalize(way, dim=-1) * self.distance(a, b).unsqueeze(-1)
        return torch.where((arc > 0).unsqueeze(-1), far, b - a)

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        speed = length(v)
        way = v / torch.where(speed > 0, speed, 1.0).unsqueeze(-1)
        # |z + s way| = inner at s = -z.way -+ sqrt(room); a line just touching it counts as meeting it.
        along = (z * way).sum(-1)
        room = along.square() - z.square().sum(-1) + self.inner**2
        slack = 64 * torch.finfo(z.dtype).eps
        meets = (room > -slack) & (along < -slack) | (room > slack) & (along <= slack) & self._on_edge(z)
        before = torch.where(self._on_edge(z), 0.0, (-along - root(room.clamp_min(0))).clamp_min(0))
        met = z + before.unsqueeze(-1) * way
        left = (speed - before).clamp_min(0)
        side = torch.where(met[..., 0] * way[..., 1] - met[..., 1] * way[..., 0] < 0, -1.0, 1.0).to(z.dtype)
        edge = self.inner * unit(torch.atan2(met[..., 1], met[..., 0]) + side * left / self.inner)
        rest = self.project(z + v)
        return torch.where((meets & (speed > before)).unsqueeze(-1), edge, rest)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        a, b = torch.broadcast_tensors(a, b)
        first_leg, last_leg = self._reach(a), self._reach(b)
        arc = self._arc(a, b, first_leg, last_leg)
        side = self._side(a, b)
        whole = first_leg + self.inner * arc + last_leg
        gone = t * whole
        leaves, lands = self._touching(a, side), self._touching(b, -side)
        start = torch.atan2(leaves[..., 1], leaves[..., 0])
        turned = ((gone - first_leg) / self.inner).clamp_min(0)
        edge = self.inner * unit(start + side * turned)
        begin = a + (leaves - a) * _part(gone, first_leg)
        end = lands + (b - lands) * _part(gone - whole + last_leg, last_leg)
        bent = torch.where((gone < first_leg).unsqueeze(-1), begin, edge)
        bent = torch.where((gone > whole - last_leg).unsqueeze(-1), end, bent)
        return torch.where((arc > 0).unsqueeze(-1), bent, a + t.unsqueeze(-1) * (b - a))

    # ---------------------------------------------------------------- the hole
    def _on_edge(self, z: Tensor) -> Tensor:
        """Whether points lie on the hole's edge, but for rounding."""
        return length(z) < self.inner * (1 + 16 * torch.finfo(z.dtype).eps)

    def _reach(self, z: Tensor) -> Tensor:
        """Length ``(...)`` of the tangents from points to the hole."""
        return root((z.square().sum(-1) - self.inner**2).clamp_min(0))

    def _arc(self, a: Tensor, b: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """The angle along the hole's edge between the points where the tangents from ``a`` and ``b`` touch
        it; <= 0 where they see each other."""
        between = 2 * torch.atan2(length(F.normalize(a, dim=-1) - F.normalize(b, dim=-1)),
                                  length(F.normalize(a, dim=-1) + F.normalize(b, dim=-1)))  # fmt: skip
        edge = torch.full_like(first, self.inner)
        return between - torch.atan2(first, edge) - torch.atan2(last, torch.full_like(last, self.inner))

    def _side(self, a: Tensor, b: Tensor) -> Tensor:
        """1 where the way from ``a`` to ``b`` turns to the left, else -1."""
        cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        return torch.where(cross < 0, -torch.ones_like(cross), torch.ones_like(cross))

    def _touching(self, z: Tensor, side: Tensor) -> Tensor:
        """Where the tangent from ``z`` that passes the hole on its way to the ``side`` touches it."""
        turn = side * torch.atan2(self._reach(z), torch.full_like(z[..., 0], self.inner))
        angle = torch.atan2(z[..., 1], z[..., 0]) + turn
        return self.inner * unit(angle)


def _part(gone: Tensor, leg: Tensor) -> Tensor:
    """``(..., 1)``: the share of a leg that is behind, in [0, 1]."""
    return (gone / leg.clamp_min(1e-12)).clamp(0, 1).unsqueeze(-1)

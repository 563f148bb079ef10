"""Spheres; the circle is one of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.functional.statistics.circular import unit
from latentrun.manifolds.angles import TURN, direction, length, root, share
from latentrun.manifolds.base import Charted, Symmetric
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

BOUND = 10.0  # of the numbers that name a rotation: beyond, float32 cannot tell its columns apart


class Sphere(Symmetric):
    """S^dim, the unit vectors of R^(dim + 1), ``s<dim>`` in short; ``s1`` is the circle.

    >>> Sphere(2).distance(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0]))  # a right angle
    tensor(1.5708)
    """

    def __init__(self, dim: int):
        self.dim, self.ambient_dim, self.name = dim, dim + 1, f"s{dim}"
        self.betti = (1, *[0] * (dim - 1), 1)
        # 2 pi^(n/2) / Gamma(n/2), n = dim + 1
        half = self.ambient_dim / 2
        self.log_volume = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        self.group_features = self.ambient_dim * (self.ambient_dim - 1)

    def project(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1)

    def from_numbers(self, h: Tensor) -> Tensor:
        return direction(h)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        # The chord keeps digits where the scalar product loses them.
        return 2 * torch.atan2(length(a - b), length(a + b))

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        angle = length(v).unsqueeze(-1)
        return z * angle.cos() + v * torch.sinc(angle / math.pi)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        """Of opposite points one of the many."""
        across = b - (a * b).sum(-1, keepdim=True) * a
        sine, angle = length(across).unsqueeze(-1), self.distance(a, b).unsqueeze(-1)
        near, opposite = angle < 1, (angle > 1) & (sine < 4 * torch.finfo(a.dtype).eps)
        flat = torch.where(near, angle, torch.zeros_like(angle))
        far = angle / torch.where(near | opposite, torch.ones_like(sine), sine)
        # angle / sin(angle), without 0 / 0 at 0.
        step = across * torch.where(near, 1 / torch.sinc(flat / math.pi), far)
        return torch.where(opposite, angle * self._any_direction(a), step)

    def _any_direction(self, a: Tensor) -> Tensor:
        """A unit tangent vector at each point: towards the axis that it is farthest from."""
        axis = F.one_hot(a.abs().argmin(-1), self.ambient_dim).to(a.dtype)
        return F.normalize(self.tangent(a, axis), dim=-1)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return v - (z * v).sum(-1, keepdim=True) * z

    def drawn(self, z: Tensor) -> Tensor | None:
        """The circle in the plane, the sphere in space."""
        return z if self.dim <= 2 else None

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.project(noise.normal("sphere", (n, self.ambient_dim)))

    def act(self, g: Tensor, z: Tensor) -> Tensor:
        return (rotation(g, self.ambient_dim) @ z.unsqueeze(-1)).squeeze(-1)


class ChartedSphere(Sphere, Charted):
    """S^1, S^2 or S^3 with their exact charts: (cos, sin) of the angle; height and longitude, of which
    Archimedes found that they are uniform; the two circles of Hopf's coordinates and the share of the second
    (Shoemake 1992). Points within 1e-3 of a pole keep three digits of their place in float32.

    >>> ChartedSphere(1).embed(torch.tensor([0.25])).round(decimals=4)
    tensor([-0., 1.])
    """

    def __init__(self, dim: int):
        super().__init__(dim)
        self.coordinates = COORDINATES[dim]

    def embed(self, u: Tensor) -> Tensor:
        if self.dim == 1:
            return unit(TURN * u[..., 0])
        if self.dim == 2:
            height = u[..., :1]
            across = 2 * root(height * (1 - height))
            return torch.cat([across * unit(TURN * u[..., 1]), 2 * height - 1], dim=-1)
        first, second = root(1 - u[..., :1]), root(u[..., :1])
        return torch.cat([first * unit(TURN * u[..., 1]), second * unit(TURN * u[..., 2])], dim=-1)

    def unembed(self, z: Tensor) -> Tensor:
        if self.dim == 1:
            return share(z[..., 1:], z[..., :1])
        if self.dim == 2:
            # The angle keeps digits near the poles where its cosine loses them.
            polar = torch.atan2(length(z[..., :2]), z[..., 2])
            return torch.stack([(polar / 2).cos().square(), share(z[..., 1], z[..., 0])], dim=-1)
        second = z[..., 2:].square().sum(-1).clamp(0, 1)
        angles = share(z[..., 1], z[..., 0]), share(z[..., 3], z[..., 2])
        return torch.stack([second, *angles], dim=-1)


def _angle(name: str) -> Factor:
    return Factor(name, "cyclic", 0.0, TURN, "rad")


COORDINATES = {
    1: (_angle("angle"),),
    2: (Factor("height", "real", -1.0, 1.0), _angle("longitude")),
    3: (Factor("share", "real", 0.0, 1.0), _angle("first_angle"), _angle("second_angle")),
}


def sphere(dim: int) -> Sphere:
    """S^dim, with its chart where there is one."""
    return ChartedSphere(dim) if dim in COORDINATES else Sphere(dim)


def rotation(g: Tensor, n: int) -> Tensor:
    """Rotations ``(..., n, n)`` named by any numbers ``g (..., n (n - 1))``: their first n - 1 columns are g
    plus those of the identity, made orthonormal one after the other, the last is what completes them (Zhou et
    al. 2019, arXiv 1812.07035, eqs. 5-6). Unlike angles, continuous in what a network gives. In three and
    more dimensions numbers beyond ``BOUND`` are scaled down to it.

    >>> rotation(torch.zeros(2), 2)
    tensor([[1., -0.],
            [0., 1.]])
    """
    if n > 2:
        g = g / (g.abs().amax(-1, keepdim=True) / BOUND).clamp_min(1)
    raw = g.unflatten(-1, (n, n - 1)) + torch.eye(n, n - 1, dtype=g.dtype, device=g.device)
    columns: list[Tensor] = []
    for column in raw.unbind(-1):
        for before in columns:
            column = column - (column * before).sum(-1, keepdim=True) * before
        columns.append(F.normalize(column, dim=-1))
    across = torch.stack(columns, dim=-1)
    # The vector of cofactors is at right angles to all columns, and makes the determinant 1.
    others = [[row for row in range(n) if row != left] for left in range(n)]
    minors = torch.stack([torch.linalg.det(across[..., rows, :]) for rows in others], dim=-1)
    signs = torch.tensor([(-1.0) ** (row + n - 1) for row in range(n)], dtype=g.dtype, device=g.device)
    return torch.cat([across, (signs * minors).unsqueeze(-1)], dim=-1)

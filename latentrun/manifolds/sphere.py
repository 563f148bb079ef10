"""Spheres; the circle is one of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.manifolds.base import Symmetric

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


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

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        # The chord keeps digits where the scalar product loses them.
        return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        length = v.norm(dim=-1, keepdim=True)
        return z * length.cos() + v * torch.sinc(length / math.pi)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        across = b - (a * b).sum(-1, keepdim=True) * a
        return F.normalize(across, dim=-1) * self.distance(a, b).unsqueeze(-1)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return v - (z * v).sum(-1, keepdim=True) * z

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.project(noise.normal("sphere", (n, self.ambient_dim)))

    def act(self, g: Tensor, z: Tensor) -> Tensor:
        return (rotation(g, self.ambient_dim) @ z.unsqueeze(-1)).squeeze(-1)


def rotation(g: Tensor, n: int) -> Tensor:
    """Rotations ``(..., n, n)`` named by any numbers ``g (..., n (n - 1))``: their first n - 1 columns are g
    plus those of the identity, made orthonormal one after the other, the last is what completes them (Zhou et
    al. 2019, arXiv 1812.07035, eqs. 5-6). Unlike angles, continuous in what a network gives.

    >>> rotation(torch.zeros(2), 2)
    tensor([[1., -0.],
            [0., 1.]])
    """
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

"""A half line."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentrun.manifolds.base import Manifold

SHOWN = 6.0  # of t, as far as it is drawn


class Diagonal(Manifold):
    """The half line x_1 = ... = x_dim = t >= 0 of R^ambient_dim, without an end. Paths end at the origin.

    >>> Diagonal(2).project(torch.tensor([1.0, 2.0])), Diagonal(2).distance(torch.zeros(2), torch.ones(2))
    (tensor([1.5000, 1.5000]), tensor(1.4142))
    """

    dim = 1
    betti = (1,)

    def __init__(self, ambient_dim: int):
        self.ambient_dim, self.name = ambient_dim, "diagonal"

    def along(self, z: Tensor) -> Tensor:
        """t ``(...)`` of the nearest point."""
        return z.mean(-1).clamp_min(0)

    def at(self, t: Tensor) -> Tensor:
        """The points ``(..., ambient_dim)`` at ``t (...)``."""
        return t.unsqueeze(-1).expand(*t.shape, self.ambient_dim)

    def project(self, z: Tensor) -> Tensor:
        return self.at(self.along(z))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return math.sqrt(self.ambient_dim) * (self.along(a) - self.along(b)).abs()

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return self.project(z + v)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return b - a

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return self.at((v + 0 * z).mean(-1))

    def frame(self, z: Tensor) -> Tensor:
        return torch.full_like(z, self.ambient_dim**-0.5).unsqueeze(-2)

    def curves(self) -> tuple[Tensor, ...]:
        return (self.at(torch.tensor([0.0, SHOWN])),)

"""Flat space R^d."""

from __future__ import annotations

from torch import Tensor

from latentrun.manifolds.base import Manifold


class Euclidean(Manifold):
    """R^dim with the usual distance."""

    def __init__(self, dim: int):
        self.dim = self.ambient_dim = dim

    def project(self, z: Tensor) -> Tensor:
        return z

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm(dim=-1)

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return z + v

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return b - a

"""What a latent or data manifold knows of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Manifold(ABC):
    """A space of dimension ``dim`` whose points are given by ``ambient_dim`` coordinates (last axis).

    ``name``: a short text that :func:`latentrun.manifolds.space` reads, such as ``e3``.
    """

    dim: int
    ambient_dim: int
    name: str

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """The nearest point of the manifold to ``z (..., ambient_dim)``."""

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Geodesic distance ``(...)`` between ``a`` and ``b (..., ambient_dim)``."""

    @abstractmethod
    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        """The point reached from ``z`` along the tangent vector ``v`` in unit time."""

    @abstractmethod
    def log(self, a: Tensor, b: Tensor) -> Tensor:
        """The tangent vector at ``a`` whose exponential is ``b``."""

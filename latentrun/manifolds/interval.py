"""The unit interval and its powers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from latentrun.manifolds.base import Charted, Flat
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


class Interval(Flat, Charted):
    """The cube [0, 1]^dim with the distance of R^dim, ``i<dim>`` in short; ``i1`` is the interval. Paths end
    at the border.

    >>> import torch
    >>> Interval(1).project(torch.tensor([1.5]))
    tensor([1.])
    """

    betti = (1,)
    log_volume = 0.0

    def __init__(self, dim: int):
        self.dim = self.ambient_dim = dim
        self.name = f"i{dim}"
        names = ["position"] if dim == 1 else [f"position_{i + 1}" for i in range(dim)]
        self.coordinates = tuple(Factor(name, "real", 0.0, 1.0) for name in names)

    def project(self, z: Tensor) -> Tensor:
        return z.clamp(0, 1)

    def from_numbers(self, h: Tensor) -> Tensor:
        """sigmoid(h)."""
        return h.sigmoid()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm(dim=-1)

    def drawn(self, z: Tensor) -> Tensor | None:
        return z if self.dim == 2 else None

    def sample(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform("interval", (n, self.dim))

    def embed(self, u: Tensor) -> Tensor:
        return u

    def unembed(self, z: Tensor) -> Tensor:
        return z

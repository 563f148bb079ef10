"""Isolated points of flat space, where they stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from latentrun.manifolds.base import Coordinated
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


class Places(Coordinated):
    """k points ``places (k, a)`` of R^a, all different. There is no path from one to another: distances
    between them are infinite, tangent vectors 0. Its volume is its number of points.

    >>> pair = Places(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    >>> pair.project(torch.tensor([0.7, 5.0])), pair.betti
    (tensor([1., 0.]), (2,))
    """

    dim = 0

    def __init__(self, places: Tensor, name: str = "points"):
        self.places, self.name = places.double(), name
        k, self.ambient_dim = places.shape
        self.betti, self.log_volume = (k,), math.log(k)
        names = tuple(str(i) for i in range(k))
        self.coordinates = (Factor("point", "categorical", 0.0, k - 1.0, categories=names),)

    def _number(self, z: Tensor) -> Tensor:
        """The number ``(...)`` of the nearest place."""
        return torch.cdist(z.reshape(-1, self.ambient_dim), self.places.to(z)).argmin(-1).view(z.shape[:-1])

    def project(self, z: Tensor) -> Tensor:
        return self.places.to(z)[self._number(z)]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        apart = self._number(a) != self._number(b)
        return torch.where(apart, torch.inf, 0.0).to(a.dtype)

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return z.expand_as(z + v)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.zeros_like(a - b)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """``a`` before the middle, ``b`` from there on."""
        return torch.where(t.unsqueeze(-1) < 0.5, a, b)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return torch.zeros_like(z + v)

    def frame(self, z: Tensor) -> Tensor:
        return z.new_zeros((*z.shape[:-1], 0, self.ambient_dim))

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.places.float()[noise.integers("places", len(self.places), (n,)).cpu()].to(noise.device)

    def read(self, z: Tensor) -> Tensor:
        return self._number(z).to(z.dtype).unsqueeze(-1)

    def point(self, y: Tensor) -> Tensor:
        return self.places.to(y)[y[..., 0].round().long().clamp(0, len(self.places) - 1)]

    def drawn(self, z: Tensor) -> Tensor | None:
        return z if self.ambient_dim in (2, 3) else None

    def curves(self) -> tuple[Tensor, ...]:
        return tuple(self.places.float().split(1))


def laid_out(
    count: int,
    layout: Literal["ring", "grid", "random"],
    dim: int,
    radius: float,
    spacing: float,
    noise: Noise,
) -> Tensor:
    """``count`` places ``(count, dim)`` float64 around the origin: on a ``ring`` of a ``radius`` in the plane
    of the first two coordinates, from its right end on to the left; on a square ``grid`` with a ``spacing``,
    of which count is a power of ``dim`` many; ``random``, uniform in [-radius, radius]^dim.

    >>> from latentrun.functional.noise import Noise
    >>> laid_out(9, "grid", 2, 1.0, 2.0, Noise(0))[:4].tolist()
    [[-2.0, -2.0], [-2.0, 0.0], [-2.0, 2.0], [0.0, -2.0]]
    """
    if layout == "random":
        return radius * (2 * noise.uniform("places", (count, dim)).double() - 1)
    if layout == "grid":
        side = round(count ** (1 / dim))
        line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
        return torch.cartesian_prod(*[line] * dim).view(-1, dim)
    angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    ring = radius * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return torch.nn.functional.pad(ring, (0, dim - 2))

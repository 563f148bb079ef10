"""Coordinates of a latent space, as many as it has dimensions: what curves and metrics are written in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from latentrun.manifolds.base import Charted, Manifold
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.product import Product

SAME = 1e-4  # distance of two points of a space, in its units, below which they are taken for one


class Chart(ABC):
    """Coordinates c ``(..., dim)`` of points z ``(..., ambient_dim)`` of a space. ``names (dim,)``: what they
    are called."""

    dim: int
    names: tuple[str, ...]

    @abstractmethod
    def point(self, c: Tensor) -> Tensor:
        """z, differentiable; beyond the range of a cyclic coordinate it goes on round."""

    @abstractmethod
    def coordinates(self, z: Tensor) -> Tensor:
        """c with point(c) = z."""

    def within(self, c: Tensor) -> Tensor:
        """The nearest coordinates to c ``(..., dim)`` that lie in their ranges."""
        return c

    def near(self, a: Tensor, b: Tensor) -> Tensor:
        """Coordinates ``(..., dim)`` of the same points as ``b``, of all that they have the nearest to ``a``:
        an angle of 350 degrees is 20 from one of 10."""
        del a
        return b


class Plain(Chart):
    """The coordinates of flat space itself."""

    def __init__(self, dim: int):
        self.dim, self.names = dim, tuple(f"z{i}" for i in range(dim))

    def point(self, c: Tensor) -> Tensor:
        return c

    def coordinates(self, z: Tensor) -> Tensor:
        return z


class Scaled(Chart):
    """The coordinates of a space with an exact embedding of the unit cube, in their own units."""

    def __init__(self, space: Charted):
        self.space, self.dim = space, space.dim
        self.names = tuple(coordinate.name for coordinate in space.coordinates)
        self.low = torch.tensor([coordinate.low for coordinate in space.coordinates])
        self.width = torch.tensor([coordinate.high for coordinate in space.coordinates]) - self.low
        self.cyclic = torch.tensor([coordinate.kind == "cyclic" for coordinate in space.coordinates])

    def point(self, c: Tensor) -> Tensor:
        return self.space.embed((c - self.low.to(c)) / self.width.to(c))

    def coordinates(self, z: Tensor) -> Tensor:
        return self.low.to(z) + self.width.to(z) * self.space.unembed(z)

    def within(self, c: Tensor) -> Tensor:
        low = self.low.to(c)
        return torch.minimum(torch.maximum(c, low), low + self.width.to(c))

    def near(self, a: Tensor, b: Tensor) -> Tensor:
        """Coordinate by coordinate. Where going round changes another coordinate too, as on a band that is
        turned once, b stays as it is."""
        turns = torch.where(self.cyclic.to(a.device), ((a - b) / self.width.to(a)).round(), 0.0)
        moved = b + turns * self.width.to(b)
        same = self.space.distance(self.point(moved), self.point(b)) < SAME
        return torch.where(same.unsqueeze(-1), moved, b)


class Joined(Chart):
    """The charts of the factors of a product, one after the other."""

    def __init__(self, product: Product, charts: Sequence[Chart]):
        self.product, self.charts = product, tuple(charts)
        self.dims = [chart.dim for chart in charts]
        self.dim = sum(self.dims)
        self.names = tuple(f"{name}_{i}" for i, chart in enumerate(charts, 1) for name in chart.names)

    def point(self, c: Tensor) -> Tensor:
        parts = zip(self.charts, c.split(self.dims, dim=-1), strict=True)
        return torch.cat([chart.point(part) for chart, part in parts], dim=-1)

    def coordinates(self, z: Tensor) -> Tensor:
        parts = zip(self.charts, self.product.parts(z), strict=True)
        return torch.cat([chart.coordinates(part) for chart, part in parts], dim=-1)

    def within(self, c: Tensor) -> Tensor:
        parts = zip(self.charts, c.split(self.dims, dim=-1), strict=True)
        return torch.cat([chart.within(part) for chart, part in parts], dim=-1)

    def near(self, a: Tensor, b: Tensor) -> Tensor:
        parts = zip(self.charts, a.split(self.dims, dim=-1), b.split(self.dims, dim=-1), strict=True)
        return torch.cat([chart.near(*pair) for chart, *pair in parts], dim=-1)


def chart_of(space: Manifold) -> Chart | None:
    """The chart of a space; None where it has none, as a set of points or a sphere of many dimensions.

    >>> from latentrun.manifolds import Torus
    >>> chart_of(Torus(2)).near(torch.tensor([0.1, 0.1]), torch.tensor([6.2, 3.0]))
    tensor([-0.0832,  3.0000])
    """
    if isinstance(space, Euclidean):
        return Plain(space.dim)
    if isinstance(space, Charted):
        return Scaled(space)
    if isinstance(space, Product):
        charts = [chart_of(factor) for factor in space.factors]
        known = [chart for chart in charts if chart is not None]
        return Joined(space, known) if len(known) == len(charts) else None
    return None

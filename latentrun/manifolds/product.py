"""Products of spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from latentrun.manifolds.base import Manifold


class Product(Manifold):
    """M_1 x ... x M_k with the metric g_1 + ... + g_k: coordinates stand one after the other, distances add
    as squares, and exp, log and projection are those of each factor.

    >>> from latentrun.manifolds import Euclidean
    >>> plane = Product([Euclidean(1), Euclidean(1)])
    >>> plane.name, plane.distance(torch.zeros(2), torch.tensor([3.0, 4.0]))
    ('e1xe1', tensor(5.))
    """

    def __init__(self, factors: Sequence[Manifold]):
        self.factors = tuple(factors)
        self.widths = [factor.ambient_dim for factor in self.factors]
        self.dim, self.ambient_dim = sum(factor.dim for factor in self.factors), sum(self.widths)
        self.name = "x".join(factor.name for factor in self.factors)

    def parts(self, z: Tensor) -> tuple[Tensor, ...]:
        """The coordinates ``(..., ambient_dim)`` of each factor."""
        return z.split(self.widths, dim=-1)

    def _each(self, method: Callable[..., Tensor], *points: Tensor) -> list[Tensor]:
        """``method(factor, ...)`` of each factor's coordinates."""
        return [method(*row) for row in zip(self.factors, *map(self.parts, points), strict=True)]

    def project(self, z: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, part: factor.project(part), z), dim=-1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack(self._each(lambda factor, p, q: factor.distance(p, q), a, b)).norm(dim=0)

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, point, vector: factor.exp(point, vector), z, v), dim=-1)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, p, q: factor.log(p, q), a, b), dim=-1)

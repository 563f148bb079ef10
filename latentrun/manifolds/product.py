"""Products of spaces."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from latentrun.manifolds.angles import length
from latentrun.manifolds.base import Charted, Compact, Coordinated, Manifold, Symmetric
from latentrun.manifolds.sphere import sphere

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


class Product(Manifold):
    """M_1 x ... x M_k with the metric g_1 + ... + g_k: coordinates stand one after the other, distances add
    as squares, and exp, log and projection are those of each factor. :func:`product` makes the one that can
    do what all its factors can.

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

    @cached_property
    def betti(self) -> tuple[int, ...] | None:  # pyrefly: ignore[bad-override]  made when asked for
        return _kuenneth([factor.betti for factor in self.factors])

    @property
    def simple_factors(self) -> tuple[Manifold, ...]:
        return tuple(simple for factor in self.factors for simple in factor.simple_factors)

    @property
    def local_dims(self) -> tuple[int, ...]:
        sums = {0}
        for factor in self.factors:
            sums = {before + own for before in sums for own in factor.local_dims}
        return tuple(sorted(sums))

    def local_dim(self, z: Tensor) -> Tensor:
        return torch.stack(self._each(lambda factor, part: factor.local_dim(part), z)).sum(0)

    def parts(self, z: Tensor) -> tuple[Tensor, ...]:
        """The coordinates ``(..., ambient_dim)`` of each factor."""
        return z.split(self.widths, dim=-1)

    def _each(self, method: Callable[..., Tensor], *points: Tensor) -> list[Tensor]:
        """``method(factor, ...)`` of each factor's coordinates."""
        return [method(*row) for row in zip(self.factors, *map(self.parts, points), strict=True)]

    def project(self, z: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, part: factor.project(part), z), dim=-1)

    def from_numbers(self, h: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, part: factor.from_numbers(part), h), dim=-1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        apart = self._each(lambda factor, p, q: factor.distance(p, q), a, b)
        return length(torch.stack(apart, dim=-1))

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, point, vector: factor.exp(point, vector), z, v), dim=-1)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, p, q: factor.log(p, q), a, b), dim=-1)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, p, q: factor.geodesic(p, q, t), a, b), dim=-1)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, p, q: factor.tangent(p, q), z, v), dim=-1)

    def frame(self, z: Tensor) -> Tensor:
        rows, before = [], 0
        for factor, part in zip(self.factors, self.parts(z), strict=True):
            after = self.ambient_dim - before - factor.ambient_dim
            rows.append(torch.nn.functional.pad(factor.frame(part), (before, after)))
            before += factor.ambient_dim
        return torch.cat(rows, dim=-2)


class CompactProduct(Product, Compact):
    """A product of spaces of finite volume."""

    def __init__(self, factors: Sequence[Manifold]):
        super().__init__(factors)
        self.log_volume = math.fsum(cast(Compact, factor).log_volume for factor in factors)

    def sample(self, n: int, noise: Noise) -> Tensor:
        draws = [cast(Compact, factor).sample(n, noise.at(i)) for i, factor in enumerate(self.factors)]
        return torch.cat(draws, dim=-1)


class CoordinatedProduct(CompactProduct, Coordinated):
    """A product of spaces with coordinates: these stand one after the other. Where two have one name, the
    number of the factor, counted from 1, is put behind it."""

    def __init__(self, factors: Sequence[Manifold]):
        super().__init__(factors)
        all_ = [(i, c) for i, factor in enumerate(factors, 1) for c in cast(Coordinated, factor).coordinates]
        names = Counter(coordinate.name for _, coordinate in all_)
        self.coordinates = tuple(
            replace(c, name=f"{c.name}_{i}") if names[c.name] > 1 else c for i, c in all_
        )

    def read(self, z: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, part: factor.read(part), z), dim=-1)

    def point(self, y: Tensor) -> Tensor:
        factors = [cast(Coordinated, factor) for factor in self.factors]
        parts = y.split([len(factor.coordinates) for factor in factors], dim=-1)
        return torch.cat([factor.point(part) for factor, part in zip(factors, parts, strict=True)], dim=-1)

    def curves(self) -> tuple[Tensor, ...]:
        """Those of its one factor with paths, at every point of the others."""
        moving = [i for i, factor in enumerate(self.factors) if factor.dim]
        if len(moving) > 1 or not all(factor.curves() for factor in self.factors):
            return ()
        curves = self.factors[0].curves()
        for factor in self.factors[1:]:
            curves = tuple(
                torch.cat([c.expand(max(len(c), len(d)), -1), d.expand(max(len(c), len(d)), -1)], dim=-1)
                for c in curves
                for d in factor.curves()
            )
        return curves


class ChartedProduct(CoordinatedProduct, Charted):
    """A product of spaces with exact charts: their cubes stand one after the other.

    Two circles are drawn as a doughnut of radii 2 and 1, other surfaces as they lie in the plane or in
    space."""

    def __init__(self, factors: Sequence[Manifold]):
        super().__init__(factors)
        self.dims = [factor.dim for factor in factors]
        self.smooth = max(cast(Charted, factor).smooth for factor in factors)

    def read(self, z: Tensor) -> Tensor:
        return Charted.read(self, z)

    def point(self, y: Tensor) -> Tensor:
        return Charted.point(self, y)

    def curves(self) -> tuple[Tensor, ...]:
        return Charted.curves(self)

    def embed(self, u: Tensor) -> Tensor:
        pairs = zip(self.factors, u.split(self.dims, dim=-1), strict=True)
        return torch.cat([cast(Charted, factor).embed(part) for factor, part in pairs], dim=-1)

    def drawn(self, z: Tensor) -> Tensor | None:
        if self.dim == 2 and self.ambient_dim == 4:  # two circles: nothing else of one dimension has two
            a, b, c, d = z.unbind(-1)
            return torch.stack([(2 + c) * a, (2 + c) * b, d], dim=-1)
        return z if self.dim == 2 and self.ambient_dim <= 3 else None

    def unembed(self, z: Tensor) -> Tensor:
        return torch.cat(self._each(lambda factor, part: factor.unembed(part), z), dim=-1)


class SymmetricProduct(CompactProduct, Symmetric):
    """A product of spaces on which groups act: each acts on its own factor."""

    def __init__(self, factors: Sequence[Manifold]):
        super().__init__(factors)
        self.group_widths = [cast(Symmetric, factor).group_features for factor in factors]
        self.group_features = sum(self.group_widths)

    def act(self, g: Tensor, z: Tensor) -> Tensor:
        elements = g.split(self.group_widths, dim=-1)
        rows = zip(self.factors, elements, self.parts(z), strict=True)
        return torch.cat([cast(Symmetric, factor).act(*pair) for factor, *pair in rows], dim=-1)


class HomogeneousProduct(ChartedProduct, SymmetricProduct):
    """A product of spaces that have both an exact chart and a group."""


class Torus(HomogeneousProduct):
    """The product of ``dim`` circles, ``t<dim>`` in short: pairs (cos, sin), distances by angle.

    >>> Torus(2).ambient_dim, Torus(2).betti
    (4, (1, 2, 1))
    """

    def __init__(self, dim: int):
        super().__init__([sphere(1) for _ in range(dim)])
        self.name = f"t{dim}"


def product(factors: Sequence[Manifold]) -> Product:
    """The product of spaces, with the capabilities that all of them have.

    >>> isinstance(product([sphere(1), sphere(2)]), Charted)
    True
    """
    for kind, needs in (
        (HomogeneousProduct, (Charted, Symmetric)),
        (ChartedProduct, (Charted,)),
        (SymmetricProduct, (Symmetric,)),
        (CoordinatedProduct, (Coordinated,)),
        (CompactProduct, (Compact,)),
    ):
        if all(isinstance(factor, need) for factor in factors for need in needs):
            return kind(factors)
    return Product(factors)


def _kuenneth(numbers: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """Betti numbers of a product over a field: the coefficients of the product of the polynomials with those
    of the factors. None where one is not known."""
    if None in numbers:
        return None
    return reduce(_times, cast("Sequence[tuple[int, ...]]", numbers), (1,))


def _times(p: tuple[int, ...], q: tuple[int, ...]) -> tuple[int, ...]:
    degrees = range(len(p) + len(q) - 1)
    return tuple(sum(p[i] * q[k - i] for i in range(len(p)) if 0 <= k - i < len(q)) for k in degrees)


def is_same(a: Manifold, b: Manifold) -> bool:
    """Whether two spaces are one, whatever they are called and in whatever order their factors stand.

    >>> is_same(Torus(2), product([sphere(1), sphere(1)])), is_same(sphere(2), Torus(2))
    (True, False)
    """
    return _names(a) == _names(b)


def _names(space: Manifold) -> list[str]:
    """The names of its simple factors, sorted."""
    return sorted(factor.name for factor in space.simple_factors)

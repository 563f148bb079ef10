"""Laws of points on a manifold, and how their points are named."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from latentrun.data.lifted_clusters import Clusters
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import middles
from latentrun.manifolds import Charted, Compact, Coordinated, Diagonal, Manifold, Places, Union
from latentrun.types import Factor

STARTS = 512  # points from which a search may begin, for each dimension of the manifold
MOST = 8192


class Law(ABC):
    """Random points z of ``manifold``, with their ``factors``, one of which, ``label``, may be their class.
    ``scatter``: standard deviation of normal noise on each coordinate of z, which is no part of the factors.
    ``text``: the law in words, for notes."""

    manifold: Manifold
    factors: tuple[Factor, ...]
    label: str | None = None
    scatter: float = 0.0
    text: str

    @abstractmethod
    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        """Factors ``(n, F)`` of n points, and the points ``(n, a)`` themselves; float64, on the CPU."""

    @abstractmethod
    def read(self, z: Tensor) -> Tensor:
        """Factors ``(N, F)`` of any points ``z (N, a)`` of the manifold."""

    @abstractmethod
    def point(self, y: Tensor) -> Tensor:
        """The points ``(N, a)`` with the factors ``y (N, F)``."""

    def quantiles(self, n: int) -> Tensor | None:
        """On a curve: n points ``(n, a)`` float64, in its order, in the middles of n parts of equal
        probability."""
        return None

    @abstractmethod
    def spread(self, like: Tensor) -> Tensor:
        """Points ``(M, a)`` all over the manifold, in the dtype and on the device of ``like``."""


class Uniform(Law):
    """Uniform by volume. Factors are the coordinates of the manifold; those of z where it has none."""

    text = "uniform by volume"

    def __init__(self, manifold: Compact):
        self.manifold = self.space = manifold
        self.factors = coordinates(manifold)
        if isinstance(manifold, Union | Places):
            self.label = self.factors[0].name

    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        z = self.space.sample(n, noise).double()
        return self.read(z), z

    def read(self, z: Tensor) -> Tensor:
        return self.space.read(z) if isinstance(self.space, Coordinated) else z

    def point(self, y: Tensor) -> Tensor:
        if isinstance(self.space, Coordinated):
            return self.space.point(y)
        return self.space.project(y)

    def quantiles(self, n: int) -> Tensor | None:
        if self.space.dim != 1 or not isinstance(self.space, Charted):
            return None
        u = middles(n)
        return self.space.embed(u.unsqueeze(-1))

    def spread(self, like: Tensor) -> Tensor:
        return spread(self.space, like)


class Clustered(Law):
    """A few von Mises-Fisher laws on a sphere: see :class:`Clusters`. Factors are the coordinates of the
    sphere and the cluster, which is the label."""

    label = "cluster"

    def __init__(self, clusters: Clusters):
        self.clusters, self.inner = clusters, Uniform(clusters.sphere)
        self.manifold = clusters.sphere
        names = tuple(str(i) for i in range(clusters.k))
        cluster = Factor("cluster", "categorical", 0.0, clusters.k - 1.0, categories=names)
        self.factors = (*self.inner.factors, cluster)
        self.text = f"from {clusters.k} von Mises-Fisher laws, kappa = {clusters.kappa:g}"

    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        z, label = self.clusters.draw(n, noise)
        return torch.cat([self.inner.read(z), label.to(z).unsqueeze(-1)], dim=-1), z

    def read(self, z: Tensor) -> Tensor:
        label = self.clusters.nearest(z).to(z).unsqueeze(-1)
        return torch.cat([self.inner.read(z), label], dim=-1)

    def point(self, y: Tensor) -> Tensor:
        return self.inner.point(y[:, :-1])

    def quantiles(self, n: int) -> Tensor | None:
        return self.clusters.quantiles(n) if self.manifold.dim == 1 else None

    def spread(self, like: Tensor) -> Tensor:
        return self.inner.spread(like)


class Exponential(Law):
    """t ~ Exp(1) on the half line x_1 = ... = t: one law by two processes.

    ``parameter`` t: t is drawn, as half the sum of two squared normal numbers, and is the factor; u: u ~ U(0,
    1) is drawn and is the factor, t = -log(1 - u). The range of t ends where a uniform number of 24 binary
    digits would end: one row in 16.8 million lies beyond.
    """

    text = "t ~ Exp(1)"

    def __init__(self, line: Diagonal, parameter: Literal["t", "u"]):
        self.manifold = self.line = line
        self.parameter = parameter
        high = 24 * math.log(2) if parameter == "t" else 1.0
        self.factors = (Factor(parameter, "real", 0.0, high),)
        if parameter == "u":
            self.text = "t = -log(1 - u), u ~ U(0, 1)"

    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        if self.parameter == "u":
            y = noise.uniform("u", (n, 1)).double()
        else:
            y = noise.normal("t", (n, 2)).double().square().sum(-1, keepdim=True) / 2
        return y, self.point(y)

    def read(self, z: Tensor) -> Tensor:
        t = self.line.along(z).unsqueeze(-1)
        return -torch.expm1(-t) if self.parameter == "u" else t

    def point(self, y: Tensor) -> Tensor:
        # The float32 nearest to a u just below 1 may be 1.
        t = -torch.log1p(-y.clamp_max(1 - 2.0**-25)) if self.parameter == "u" else y
        return self.line.at(t.squeeze(-1))

    def quantiles(self, n: int) -> Tensor | None:
        u = middles(n)
        return self.line.at(-torch.log1p(-u))

    def spread(self, like: Tensor) -> Tensor:
        return self.line.at(torch.linspace(0, 40, MOST).to(like))


class Scattered(Law):
    """The places of k points, one as likely as the other, around which the points lie with a normal
    ``scatter`` of that standard deviation on each of their own coordinates; the place is factor and label. A
    point's member of the family is its place."""

    def __init__(self, places: Places, scatter: float):
        self.manifold = self.places = places
        self.scatter, self.factors = scatter, places.coordinates
        self.label = places.coordinates[0].name
        self.text = f"{len(places.places)} places, one as likely as the other"
        if scatter:
            self.text += f", scattered around them with a standard deviation of {scatter:g}"

    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        z = self.places.sample(n, noise).double()
        return self.read(z), z

    def read(self, z: Tensor) -> Tensor:
        return self.places.read(z)

    def point(self, y: Tensor) -> Tensor:
        return self.places.point(y)

    def spread(self, like: Tensor) -> Tensor:
        return self.places.places.to(like)


def coordinates(manifold: Compact) -> tuple[Factor, ...]:
    """What is known of each point: its coordinates on the manifold, else those of the space around it."""
    if isinstance(manifold, Coordinated):
        return manifold.coordinates
    return tuple(Factor(f"coordinate_{i}", "real", -1.0, 1.0) for i in range(manifold.ambient_dim))


def spread(manifold: Compact, like: Tensor) -> Tensor:
    """Points ``(M, a)`` all over a manifold: Sobol's through its chart, else random ones."""
    n = min(MOST, STARTS * 2 ** max(manifold.dim, 1))
    if isinstance(manifold, Places):
        return manifold.places.to(like)
    if isinstance(manifold, Charted):
        u = torch.quasirandom.SobolEngine(manifold.dim).draw(n)
        return manifold.embed(u.to(like))
    return manifold.sample(n, Noise(0).at("starts")).to(like)

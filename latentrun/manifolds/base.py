"""What a latent or data manifold knows of itself, and what some can do beyond it. A capability is a class it
inherits."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jvp

from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

LINES, SMOOTH = 13, 97  # of an outline: grid lines each way, points of each
FEW = 7  # grid lines each way of the curves that data are drawn over


class Manifold(ABC):
    """A space of dimension ``dim`` whose points are given by ``ambient_dim`` coordinates (last axis).

    ``name``: a short text that :func:`latentrun.manifolds.space` reads, such as ``e3``. ``betti``: its Betti
    numbers b_0, b_1, ... over Z/2, as homology libraries count by default; None where they are not known.
    Everything works row by row in the dtype and on the device of what it is given.
    """

    dim: int
    ambient_dim: int
    name: str
    betti: tuple[int, ...] | None = None

    @cached_property  # and no property: a product has its own, which it is made of
    def factors(self) -> tuple[Manifold, ...]:
        """The spaces that it was made the product of; where it is no product, itself."""
        return (self,)

    @property
    def simple_factors(self) -> tuple[Manifold, ...]:
        """The factors that are no products themselves, of its factors' factors too."""
        return (self,)

    @property
    def local_dims(self) -> tuple[int, ...]:
        """The dimensions that it has around its points, ascending: one, but of a union of several kinds."""
        return (self.dim,)

    def local_dim(self, z: Tensor) -> Tensor:
        """Its dimension ``(...)`` int64 around the points ``z (..., ambient_dim)``."""
        return torch.full(z.shape[:-1], self.dim, dtype=torch.int64, device=z.device)

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """The nearest point of the manifold to ``z (..., ambient_dim)``."""

    def from_numbers(self, h: Tensor) -> Tensor:
        """The point ``(..., ambient_dim)`` that any numbers ``h (..., ambient_dim)`` of a network stand for:
        continuous wherever a continuous map can be, onto the manifold but for a border, with a gradient
        everywhere. Here the nearest point; a manifold with a border has a map of its own, for all that lies
        beyond a border has its nearest point there, where no small step moves it."""
        return self.project(h)

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Geodesic distance ``(...)`` between ``a`` and ``b (..., ambient_dim)``."""

    @abstractmethod
    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        """The point reached from ``z`` along the tangent vector ``v`` in unit time."""

    @abstractmethod
    def log(self, a: Tensor, b: Tensor) -> Tensor:
        """The tangent vector at ``a`` whose exponential is ``b``."""

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Points ``(..., ambient_dim)`` of a shortest path from ``a`` (t = 0) to ``b`` (t = 1), at constant
        speed; ``t`` of the shape of a coordinate of ``a``, or one that broadcasts with it."""
        return self.exp(a, t.unsqueeze(-1) * self.log(a, b))

    def drawn(self, z: Tensor) -> Tensor | None:
        """Two or three coordinates ``(..., 2 | 3)`` of points in which one sees the space as it is, all of
        one scale; None where there are none, or where z is as good."""
        del z
        return None

    def outline(self) -> Tensor | None:
        """Curves ``(K, T, 2 | 3)`` of the space itself, in the coordinates of :meth:`drawn`; None where it
        draws nothing."""
        return None

    def curves(self) -> tuple[Tensor, ...]:
        """Curves ``(T, ambient_dim)`` of the space, float32, that together show its shape, such as the lines
        of a grid; T = 1: a point that stands alone. Empty where there are none that do."""
        return ()

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        """The part of ``v (..., ambient_dim)`` that is tangent to the manifold at its point ``z``: the
        derivative of the nearest point along ``v``."""
        # The first derivative of a process lets torch compile with what it has itself deprecated.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return jvp(self.project, (z,), (v,))[1]

    def frame(self, z: Tensor) -> Tensor:
        """An orthonormal basis ``(..., dim, ambient_dim)`` of the tangent space at the points ``z``."""
        axes = torch.eye(self.ambient_dim, dtype=z.dtype, device=z.device)
        shape = (*z.shape[:-1], self.ambient_dim, self.ambient_dim)
        onto = self.tangent(z.unsqueeze(-2).expand(shape), axes.expand(shape))
        # A projector of rank dim: its eigenvectors of eigenvalue 1 come last.
        return torch.linalg.eigh(0.5 * (onto + onto.mT)).eigenvectors[..., -self.dim :].mT


class Flat(Manifold):
    """A part of R^dim with straight paths, which end at its border; all of it may be the part."""

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return self.project(z + v)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return b - a

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return v.expand_as(z + v)


class Compact(Manifold):
    """Of finite volume: it has a uniform law, the prior of codes that live on it.

    ``log_volume``: logarithm of its ``dim``-dimensional volume, of a finite set of its number of points.
    """

    log_volume: float

    @abstractmethod
    def sample(self, n: int, noise: Noise) -> Tensor:
        """n points ``(n, ambient_dim)``, float32, uniform by volume; keyed by ``noise`` under names of its
        own."""


class Coordinated(Compact):
    """Its points have names in numbers: ``coordinates``, some of which may be categories."""

    coordinates: tuple[Factor, ...]

    @abstractmethod
    def read(self, z: Tensor) -> Tensor:
        """The coordinates ``(..., C)`` of points ``z (..., ambient_dim)`` of the manifold."""

    @abstractmethod
    def point(self, y: Tensor) -> Tensor:
        """The points ``(..., ambient_dim)`` with the coordinates ``y (..., C)``; differentiable in those
        that are no categories."""


class Charted(Coordinated):
    """Has an exact embedding psi of the unit cube that takes its uniform law to that of the manifold.

    It is onto, and one to one but for a set of volume zero (a circle's two ends are one point).
    ``coordinates``: what those of the cube mean, one for each of ``dim``, in the units of the manifold (an
    angle in radians), in the order of u; u = (coordinate - low) / (high - low). ``smooth``: points of a line
    that is drawn.
    """

    smooth: int = SMOOTH

    @abstractmethod
    def embed(self, u: Tensor) -> Tensor:
        """psi(u) ``(..., ambient_dim)`` of ``u (..., dim)`` in [0, 1]; differentiable."""

    @abstractmethod
    def unembed(self, z: Tensor) -> Tensor:
        """u ``(..., dim)`` in [0, 1] of points ``z`` of the manifold: psi(unembed(z)) = z."""

    def read(self, z: Tensor) -> Tensor:
        low, high = self._ends(z)
        return low + (high - low) * self.unembed(z)

    def point(self, y: Tensor) -> Tensor:
        low, high = self._ends(y)
        return self.embed((y - low) / (high - low))

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and highest values ``(dim,)`` of the coordinates."""
        low, high = [c.low for c in self.coordinates], [c.high for c in self.coordinates]
        return like.new_tensor(low), like.new_tensor(high)

    def outline(self) -> Tensor | None:
        """Lines of the chart's grid: along each of at most two coordinates, at evenly spaced values of the
        other."""
        grid = self._grid(LINES)
        return None if grid is None else self.drawn(self.embed(grid))

    def curves(self) -> tuple[Tensor, ...]:
        grid = self._grid(FEW)
        return () if grid is None else tuple(self.embed(grid))

    def _grid(self, lines: int) -> Tensor | None:
        """Places ``(K, T, dim)`` in the unit cube: the lines of its grid, so many each way; None in more than
        two dimensions."""
        along = torch.linspace(0, 1, self.smooth)
        if self.dim == 1:
            return along.view(1, -1, 1)
        if self.dim != 2:
            return None
        across = torch.linspace(0, 1, lines)
        grid = torch.cartesian_prod(across, along).view(lines, -1, 2)
        return torch.cat([grid, grid.flip(-1)])


class Symmetric(Compact):
    """A group acts on it by isometries, and takes every point to every other.

    ``group_features``: how many numbers name an element of it.
    """

    group_features: int

    @abstractmethod
    def act(self, g: Tensor, z: Tensor) -> Tensor:
        """The element named by any real numbers ``g (..., group_features)`` of the group, applied to points
        ``z (..., ambient_dim)``: differentiable in both; 0 names the neutral element, so that a network's
        first guesses lie near it."""


class Finite(Compact):
    """k points without a distance between them but 0 and 1, coded one-hot ``(..., k)``."""

    dim: int = 0
    size: int

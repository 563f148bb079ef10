"""Points of a manifold, carried into many dimensions by a fixed random network."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Gt
from latentrun.data.base import SPLITS, Dataset, HasMembers, Oracle, partition
from latentrun.data.lifted_clusters import Clusters
from latentrun.data.lifted_nearest import nearest_points
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Charted, Compact, Sphere, space
from latentrun.types import Factor, Projection, Split

Fraction = Annotated[float, Between(0, 1, open_=True)]


class Lifted(Dataset, Oracle, HasMembers):
    """x = f(z) + ``noise`` e with z on ``manifold``, e ~ N(0, 1) and f(z) = relu(z V) W: a random network
    without biases, whose weights are uniform with Xavier's bounds, fixed by ``mlp_seed``; V ``(a, width)``,
    W ``(width, ambient)``.

    z is uniform by volume, or, on a sphere, from ``clusters`` von Mises-Fisher laws of concentration
    ``kappa``: see :class:`Clusters`; ``labels`` are then the cluster. Factors are the coordinates of the
    manifold's chart (those of z where it has none), and the cluster. With ``stream`` every training step sees
    fresh points instead of the train rows, as many as it asked for (factors and index of its batch are those
    of the rows); validation and test rows are fixed. Falorsi et al. (2018) and Davidson et al. (2018, section
    5.1) have such data; what is left open there is here: no biases, both layers alike.

    ``betti`` are those of the manifold: the network is injective on it for nearly all weights where ``width``
    is well above its dimension. Raises InputError for a space without a uniform law, clusters on what is no
    sphere, and too few dimensions.
    """

    def __init__(
        self,
        manifold: str,
        ambient: Annotated[int, Count(1, 100_000)],
        width: Annotated[int, Count(1, 100_000)],
        mlp_seed: Annotated[int, Ge(0)],
        noise: Annotated[float, Ge(0)],
        clusters: Annotated[int, Count(1, 1000)] | None,
        kappa: Annotated[float, Gt(0)],
        n: Annotated[int, Count(1)],
        stream: bool,
        val_fraction: Fraction,
        test_fraction: Fraction,
        seed: Annotated[int, Ge(0)],
    ):
        self.manifold = _manifold(manifold, ambient)
        if n * ambient > 2**30:
            raise InputError(f"data: {n:,} examples of {ambient:,} values; at most {2**30 // ambient:,} such")
        self.clusters = None if clusters is None else _clusters(self.manifold, clusters, kappa, seed)
        self.noise, self.n, self.stream = noise, n, stream
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        self.event_shape = (ambient,)
        self.intrinsic_dim, self.betti = self.manifold.dim, self.manifold.betti
        weights = Noise(mlp_seed).at("lifted")
        self.layers = tuple(
            _xavier(weights.uniform(name, shape).double())
            for name, shape in (("V", (self.manifold.ambient_dim, width)), ("W", (width, ambient)))
        )
        self.factors = _coordinates(self.manifold)
        if clusters is not None:
            names = tuple(str(i) for i in range(clusters))
            self.factors += (Factor("cluster", "categorical", 0.0, clusters - 1.0, categories=names),)
            self.label = "cluster"
        self.notes = (self._sentence(width, mlp_seed),)

    def _sentence(self, width: int, mlp_seed: int) -> str:
        law = "uniform by volume"
        if self.clusters is not None:
            law = f"from {self.clusters.k} von Mises-Fisher laws, kappa = {self.clusters.kappa:g}"
        fresh = "; training steps see fresh ones" if self.stream else ""
        return (
            f"Points of {self.manifold.name}, {law}, through a random ReLU network of {width} units (seed "
            f"{mlp_seed}), noise {self.noise:g}{fresh}."
        )

    # ---------------------------------------------------------------- rows
    @property
    def value_range(self) -> tuple[float, float]:  # pyrefly: ignore[bad-override]
        low, high = self._range
        return low - 0.05 * (high - low), high + 0.05 * (high - low)

    @cached_property
    def _range(self) -> tuple[float, float]:
        parts = [rows.x for rows in self._whole.values() if len(rows.x)]
        return min(x.min().item() for x in parts), max(x.max().item() for x in parts)

    @cached_property
    def _whole(self) -> dict[str, Split]:
        noise = Noise(self.seed).at("lifted")
        z, label = self._points(self.n, noise)
        y = self._read(z, label).float()
        clean = self.render(y.double())
        x = (clean + self.noise * noise.normal("noise", tuple(clean.shape)).double()).float()
        parts = partition(self.n, self.fractions, self.seed)
        labels = None if self.label is None else label
        return {
            name: Split(x[rows], y[rows], None if labels is None else labels[rows], rows)
            for name, rows in zip(SPLITS, parts, strict=True)
        }

    def _load(self) -> dict[str, Split]:
        return self._whole

    def _points(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        """n points ``(n, a)`` float64 of the law, and their clusters ``(n,)``."""
        if self.clusters is not None:
            return self.clusters.draw(n, noise)
        return self.manifold.sample(n, noise).double(), torch.zeros(n, dtype=torch.int64)

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """As many fresh examples as there are rows in ``x``, of a stream; else x itself."""
        if not self.stream:
            return x
        z, _ = self._points(len(x), noise)
        fresh = self.lift(z.to(x.device, x.dtype))
        return fresh + self.noise * noise.normal("noise", tuple(x.shape)).to(x) if self.noise else fresh

    # ---------------------------------------------------------------- the family
    def lift(self, z: Tensor) -> Tensor:
        """f(z) ``(..., ambient)`` of points ``z (..., a)``, in their dtype and on their device."""
        first, second = (layer.to(z) for layer in self.layers)
        return (z @ first).relu() @ second

    def slopes(self, z: Tensor, directions: Tensor) -> Tensor:
        """Derivatives ``(N, K, ambient)`` of f at ``z (N, a)`` along ``directions (N, K, a)``."""
        first, second = (layer.to(z) for layer in self.layers)
        return ((directions @ first) * (z @ first > 0).unsqueeze(-2)) @ second

    def render(self, factors: Tensor) -> Tensor:
        """The noise-free examples ``(N, ambient)`` of factors ``(N, F)``; differentiable in the
        coordinates."""
        return self.lift(self._point(factors))

    def _point(self, factors: Tensor) -> Tensor:
        """The points ``(N, a)`` of factors ``(N, F)``."""
        if not isinstance(self.manifold, Charted):
            return self.manifold.project(factors[:, : self.manifold.ambient_dim])
        low, high = self._ends(factors)
        return self.manifold.embed((factors[:, : len(low)] - low) / (high - low))

    def _read(self, z: Tensor, label: Tensor) -> Tensor:
        """Factors ``(N, F)`` of points ``z (N, a)`` with their clusters ``(N,)``."""
        y = z
        if isinstance(self.manifold, Charted):
            low, high = self._ends(z)
            y = low + (high - low) * self.manifold.unembed(z)
        return y if self.clusters is None else torch.cat([y, label.to(y).unsqueeze(-1)], dim=-1)

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and highest values ``(dim,)`` of the coordinates."""
        coordinates = _coordinates(self.manifold)
        low, high = [c.low for c in coordinates], [c.high for c in coordinates]
        return like.new_tensor(low), like.new_tensor(high)

    def project(self, x: Tensor) -> Projection:
        """The nearest f(z) to each row of ``x (N, ambient)``, with the coordinates of z in their ranges and
        the cluster whose centre is nearest: see :func:`nearest_points`."""
        x = x.double()
        z = nearest_points(self.manifold, self.lift, self.slopes, x)
        label = x.new_zeros(len(x), dtype=torch.int64)
        if self.clusters is not None:
            label = self.clusters.nearest(z)
        tiny = torch.finfo(x.dtype).tiny
        residual = (x - self.lift(z)).norm(dim=1) / x.norm(dim=1).clamp_min(tiny)
        ones = torch.ones_like(residual)
        return Projection(self._read(z, label), residual, ones.bool(), ones)

    def members(self, n: int) -> Tensor | None:
        manifold = self.manifold
        if manifold.dim != 1 or not isinstance(manifold, Charted):
            return None
        if self.clusters is not None:
            return self.lift(self.clusters.quantiles(n)).float()
        u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        return self.lift(manifold.embed(u.unsqueeze(-1))).float()


def _manifold(text: str, ambient: int) -> Compact:
    manifold = space(text, "data.manifold")
    if not isinstance(manifold, Compact):
        raise InputError(
            f"data.manifold: {text!r} has no uniform law; bounded spaces have: i<n>, s<n>, t<n>, c<n>, so3, "
            "disc, annulus, moebius, klein, and products of them"
        )
    if ambient <= manifold.dim:
        raise InputError(
            f"data.ambient: {text!r} has {manifold.dim} dimensions: at least {manifold.dim + 1} needed, got "
            f"{ambient}"
        )
    return manifold


def _clusters(manifold: Compact, k: int, kappa: float, seed: int) -> Clusters:
    if not isinstance(manifold, Sphere):
        raise InputError(f"data.clusters: von Mises-Fisher laws need a sphere s<n>, got {manifold.name!r}")
    return Clusters(manifold, k, kappa, seed)


def _coordinates(manifold: Compact) -> tuple[Factor, ...]:
    """What is known of each point: its place in the chart, else its coordinates."""
    if isinstance(manifold, Charted):
        return manifold.coordinates
    return tuple(Factor(f"coordinate_{i}", "real", -1.0, 1.0) for i in range(manifold.ambient_dim))


def _xavier(u: Tensor) -> Tensor:
    """Uniform numbers ``(fan_in, fan_out)`` in [0, 1) as weights, uniform in +-sqrt(6 / (fan_in +
    fan_out))."""
    return (2 * u - 1) * math.sqrt(6 / sum(u.shape))

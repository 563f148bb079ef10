"""Points of manifolds, carried into as many dimensions as one likes."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Gt
from latentrun.data.base import SPLITS, Dataset, HasMembers, Oracle, partition, with_margin
from latentrun.data.lifted_clusters import Clusters
from latentrun.data.lifted_laws import Clustered, Exponential, Law, Scattered, Uniform, spread
from latentrun.data.lifted_maps import Flat, Map, isometry, network, smooth
from latentrun.data.lifted_names import Layout, named
from latentrun.data.lifted_nearest import nearest_points
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Compact, Diagonal, Manifold, Places, Sphere, Union, space
from latentrun.types import Projection, Split

Fraction = Annotated[float, Between(0, 1, open_=True)]


class OnManifold(Dataset, Oracle, HasMembers):
    """x = f(z) + ``noise`` e with z of a law on a manifold, e ~ N(0, 1), and a map f, the ``lift``.

    Factors are those of the law; its label is coded by ``labels``. With ``stream`` every training step sees
    fresh points instead of the train rows, as many as it asked for (factors and index of its batch are those
    of the rows); validation and test rows are fixed. ``betti`` are those of the manifold, on which the lifts
    are one to one.

    The classes below make one of settings: :class:`Shape` of all manifolds and lifts, :class:`Lifted` of a
    space through a network.
    """

    manifold: Manifold  # pyrefly: ignore[bad-override]  here there always is one

    def __init__(
        self,
        law: Law,
        lift: Map,
        ambient: int,
        noise: float,
        n: int,
        stream: bool,
        fractions: tuple[float, float],
        seed: int,
    ):
        if n * ambient > 2**30:
            raise InputError(f"data: {n:,} examples of {ambient:,} values; at most {2**30 // ambient:,} such")
        self.law, self.lift, self.manifold = law, lift, law.manifold
        self.noise, self.n, self.stream = noise, n, stream
        self.fractions, self.seed = fractions, seed
        self.event_shape = (ambient,)
        self.intrinsic_dim, self.betti = self.manifold.dim, self.manifold.betti
        self.factors, self.label = law.factors, law.label
        fresh = "; training steps see fresh ones" if stream else ""
        self.notes = (f"Manifold {self.manifold.name}: {law.text}{lift.text}, noise {noise:g}{fresh}.",)

    # ---------------------------------------------------------------- rows
    @property
    def value_range(self) -> tuple[float, float]:  # pyrefly: ignore[bad-override]
        return with_margin(*self._range)

    @cached_property
    def _range(self) -> tuple[float, float]:
        parts = [rows.x for rows in self._whole.values() if len(rows.x)]
        return min(x.min().item() for x in parts), max(x.max().item() for x in parts)

    @cached_property
    def _whole(self) -> dict[str, Split]:
        noise = Noise(self.seed).at("lifted")
        y, _ = self.law.draw(self.n, noise)
        y = y.float()  # as it is kept, it gives the point
        clean = self.lift(self._scattered(self.law.point(y.double()), noise))
        x = (clean + self.noise * noise.normal("noise", tuple(clean.shape)).double()).float()
        parts = partition(self.n, self.fractions, self.seed)
        labels = self._labels(y)
        return {
            name: Split(x[rows], y[rows], None if labels is None else labels[rows], rows)
            for name, rows in zip(SPLITS, parts, strict=True)
        }

    def _scattered(self, z: Tensor, noise: Noise) -> Tensor:
        """Points ``z (N, a)``, where the law says so each a little off."""
        if not self.law.scatter:
            return z
        return z + self.law.scatter * noise.normal("scatter", tuple(z.shape)).to(z)

    def _labels(self, y: Tensor) -> Tensor | None:
        if self.label is None:
            return None
        return y[:, [factor.name for factor in self.factors].index(self.label)].long()

    def _load(self) -> dict[str, Split]:
        return self._whole

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """As many fresh examples as there are rows in ``x``, of a stream; else x itself."""
        if not self.stream:
            return x
        _, z = self.law.draw(len(x), noise)
        fresh = self.lift(self._scattered(z.to(x.device, x.dtype), noise))
        return fresh + self.noise * noise.normal("noise", tuple(x.shape)).to(x) if self.noise else fresh

    # ---------------------------------------------------------------- the family
    def render(self, factors: Tensor) -> Tensor:
        """The noise-free examples ``(N, ambient)`` of factors ``(N, F)``; differentiable in those that are no
        categories."""
        return self.lift(self.law.point(factors))

    def project(self, x: Tensor) -> Projection:
        """The nearest f(z) to each row of ``x (N, ambient)``, with the factors of z in their ranges: of a
        rotation the nearest point of the manifold, else searched for by :func:`nearest_points`."""
        x = x.double()
        z = self._nearest(x)
        tiny = torch.finfo(x.dtype).tiny
        residual = (x - self.lift(z)).norm(dim=1) / x.norm(dim=1).clamp_min(tiny)
        ones = torch.ones_like(residual)
        return Projection(self.law.read(z), residual, ones.bool(), ones)

    def _nearest(self, x: Tensor) -> Tensor:
        """The points ``(N, a)`` whose images are nearest to ``x (N, ambient)`` float64."""
        if isinstance(self.lift, Flat):
            return self.manifold.project(self.lift.back(x))
        if not isinstance(self.manifold, Union):
            starts = self.law.spread(x)
            return nearest_points(self.manifold, self.lift, self.lift.slopes, x, starts)
        near = [
            nearest_points(part, self.lift, self.lift.slopes, x, spread(part, x))
            for part in self.manifold.parts
        ]
        miss = torch.stack([(self.lift(z) - x).norm(dim=1) for z in near])
        return torch.stack(near)[miss.argmin(0), torch.arange(len(x), device=x.device)]

    def members(self, n: int) -> Tensor | None:
        z = self.law.quantiles(n)
        return None if z is None else self.lift(z).float()

    @property
    def local_dims(self) -> tuple[int, ...]:
        return self.manifold.local_dims

    def local_dim(self, factors: Tensor) -> Tensor:
        return self.manifold.local_dim(self.law.point(factors))

    def geodesic_distance(self, a: Tensor, b: Tensor) -> Tensor | None:
        """None where the lift is no isometry."""
        return self.factor_distance(a, b) if isinstance(self.lift, Flat) else None

    def factor_distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self.manifold.distance(self.law.point(a), self.law.point(b))

    def outline(self) -> tuple[Tensor, ...]:
        return tuple(self.lift(curve) for curve in self.manifold.curves())


class Shape(OnManifold):
    """Points of the manifold called ``name``: see :func:`latentrun.data.lifted_names.named`.

    Uniform by volume; those of ``points`` as :class:`~latentrun.data.lifted_laws.Scattered` says, of
    ``exponential_line`` as :class:`~latentrun.data.lifted_laws.Exponential`, with its ``parameter``. ``lift``
    and ``lift_seed``: see :mod:`latentrun.data.lifted_maps`. Raises InputError for an unknown name, a space
    without a uniform law, and too few dimensions.
    """

    def __init__(
        self,
        name: str,
        points: Layout,
        parameter: Literal["t", "u"],
        ambient: Annotated[int, Count(1, 100_000)] | None,
        lift: Literal["isometry", "smooth", "network"],
        amplitude: Annotated[float, Gt(0)],
        frequency: Annotated[float, Gt(0)],
        width: Annotated[int, Count(1, 100_000)],
        lift_seed: Annotated[int, Ge(0)],
        noise: Annotated[float, Ge(0)],
        n: Annotated[int, Count(1)],
        stream: bool,
        val_fraction: Fraction,
        test_fraction: Fraction,
        seed: Annotated[int, Ge(0)],
    ):
        manifold = named(name, points, seed)
        law: Law
        if isinstance(manifold, Diagonal):
            law = Exponential(manifold, parameter)
        elif isinstance(manifold, Places):
            law = Scattered(manifold, points.spread)
        elif isinstance(manifold, Compact):
            law = Uniform(manifold)
        else:
            raise no_uniform_law("data.name", name)
        if lift == "isometry":
            map_ = isometry(manifold, ambient, lift_seed)
        elif lift == "smooth":
            map_ = smooth(manifold, ambient, amplitude, frequency, lift_seed)
        else:
            map_ = network(manifold, ambient, width, lift_seed)
        dimensions = manifold.ambient_dim if ambient is None else ambient
        super().__init__(law, map_, dimensions, noise, n, stream, (val_fraction, test_fraction), seed)


class Lifted(OnManifold):
    """Points of a space through a random ReLU network with weights fixed by ``mlp_seed``: see
    :func:`latentrun.data.lifted_maps.network`.

    They are uniform by volume, or, on a sphere, from ``clusters`` von Mises-Fisher laws of concentration
    ``kappa``: see :class:`Clusters`; ``labels`` are then the cluster. Falorsi et al. (2018) and Davidson et
    al. (2018, section 5.1) have such data; what is left open there is here: no biases, both layers alike.

    Raises InputError for a space without a uniform law, clusters on what is no sphere, and too few
    dimensions.
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
        where = space(manifold, "data.manifold")
        if not isinstance(where, Compact):
            raise no_uniform_law("data.manifold", manifold)
        map_ = network(where, ambient, width, mlp_seed)
        law: Law = Uniform(where)
        if clusters is not None:
            if not isinstance(where, Sphere):
                raise InputError(
                    f"data.clusters: von Mises-Fisher laws need a sphere s<n>, got {where.name!r}"
                )
            law = Clustered(Clusters(where, clusters, kappa, seed))
        super().__init__(law, map_, ambient, noise, n, stream, (val_fraction, test_fraction), seed)


def no_uniform_law(where: str, text: str) -> InputError:
    """The error for a space that is unbounded."""
    return InputError(
        f"{where}: {text!r} has no uniform law; bounded spaces have: i<n>, s<n>, t<n>, c<n>, so3, disc, "
        "annulus, moebius, klein, and products of them"
    )

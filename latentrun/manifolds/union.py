"""Several manifolds as one, apart from each other or grown together at a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentrun.manifolds.base import Charted, Coordinated
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


class Placed(Charted):
    """A manifold moved, made larger and put into R^a: z = origin + scale w axes, of its points w.

    ``origin (a,)``; ``axes (a', a)``: orthonormal rows, the directions of its own coordinates. Its chart and
    the names of its coordinates stay as they are; lengths are those in R^a.
    """

    def __init__(
        self,
        inner: Charted,
        origin: Sequence[float],
        axes: Sequence[Sequence[float]] | None = None,
        scale: float = 1.0,
        name: str | None = None,
    ):
        self.inner, self.scale, self.name = inner, scale, name or inner.name
        self._origin = torch.tensor(origin, dtype=torch.float64)
        self.dim, self.ambient_dim, self.betti = inner.dim, len(origin), inner.betti
        self._axes = torch.eye(inner.ambient_dim, len(origin), dtype=torch.float64)
        if axes is not None:
            self._axes = torch.tensor(axes, dtype=torch.float64)
        self.log_volume = inner.log_volume + inner.dim * math.log(scale)
        self.coordinates, self.smooth = inner.coordinates, inner.smooth

    def _out(self, w: Tensor) -> Tensor:
        return self._origin.to(w) + self.scale * w @ self._axes.to(w)

    def _in(self, z: Tensor) -> Tensor:
        return (z - self._origin.to(z)) @ self._axes.to(z).mT / self.scale

    def project(self, z: Tensor) -> Tensor:
        return self._out(self.inner.project(self._in(z)))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self.scale * self.inner.distance(self._in(a), self._in(b))

    def _vector(self, v: Tensor) -> Tensor:
        return v @ self._axes.to(v).mT / self.scale

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return self._out(self.inner.exp(self._in(z), self._vector(v)))

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return self.scale * self.inner.log(self._in(a), self._in(b)) @ self._axes.to(a)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return self._out(self.inner.geodesic(self._in(a), self._in(b), t))

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return self.scale * self.inner.tangent(self._in(z), self._vector(v)) @ self._axes.to(z)

    def frame(self, z: Tensor) -> Tensor:
        return self.inner.frame(self._in(z)) @ self._axes.to(z)

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self._out(self.inner.sample(n, noise))

    def embed(self, u: Tensor) -> Tensor:
        return self._out(self.inner.embed(u))

    def unembed(self, z: Tensor) -> Tensor:
        return self.inner.unembed(self._in(z))


class Union(Coordinated):
    """Manifolds of one space R^a, none meeting another, or all meeting in the one point ``joint (a,)``, each
    pair nowhere else.

    Its dimension is the largest of theirs. The uniform law is that by volume where all have one dimension;
    where they differ, volumes of different kinds cannot be held against each other, and each part gets the
    same share. ``log_volume`` is that of the parts of the largest dimension. Coordinates: the ``component``,
    and those of the parts, one for several parts where it is the same; where a coordinate means nothing on a
    part it has the middle of its range.

    Distances between parts that are apart are infinite; through a joint they are the sum of the two ways to
    it. No exp can undo a log that turns off there: exp stays on its part, log points to the joint.

    >>> from latentrun.manifolds import sphere
    >>> rings = Union([Placed(sphere(1), (-1.5, 0.0)), Placed(sphere(1), (1.5, 0.0))], "two_circles")
    >>> rings.betti, [coordinate.name for coordinate in rings.coordinates]
    ((2, 2), ['component', 'angle'])
    """

    def __init__(self, parts: Sequence[Placed], name: str, joint: Sequence[float] | None = None):
        self.parts, self.name = tuple(parts), name
        self.ambient_dim, self.dim = parts[0].ambient_dim, max(part.dim for part in parts)
        self._joint = None if joint is None else torch.tensor(joint, dtype=torch.float64)
        known = [part.betti for part in parts if part.betti is not None]
        betti = [sum(numbers) for numbers in zip_longest(*known, fillvalue=0)]
        self.betti = (1 if self._joint is not None else betti[0], *betti[1:])
        volumes = torch.tensor([part.log_volume for part in parts], dtype=torch.float64)
        top = torch.tensor([part.dim == self.dim for part in parts])
        self.log_volume = volumes[top].logsumexp(0).item()
        self.shares = volumes.softmax(0) if top.all() else torch.full_like(volumes, 1 / len(parts))
        self._name_coordinates()

    def _name_coordinates(self) -> None:
        """``coordinates``, and for each part which of them are its own."""
        names = tuple(part.name for part in self.parts)
        if len(set(names)) < len(names):
            names = tuple(f"{name}_{i}" for i, name in enumerate(names))
        all_ = [Factor("component", "categorical", 0.0, len(names) - 1.0, categories=names)]
        self._columns: list[list[int]] = []
        for part in self.parts:
            columns = []
            for coordinate in part.coordinates:
                if coordinate not in all_:
                    all_.append(coordinate)
                columns.append(all_.index(coordinate))
            self._columns.append(columns)
        self.coordinates = tuple(all_)

    # ---------------------------------------------------------------- parts
    @property
    def local_dims(self) -> tuple[int, ...]:
        return tuple(sorted({part.dim for part in self.parts}))

    def component(self, z: Tensor) -> Tensor:
        """The number ``(...)`` int64 of the part nearest to ``z``."""
        return self._candidates(z)[1]

    def _candidates(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest point ``(..., K, a)`` of each part, and which of them is the nearest ``(...)``."""
        near = torch.stack([part.project(z) for part in self.parts], dim=-2)
        return near, (near - z.unsqueeze(-2)).square().sum(-1).argmin(-1)

    def local_dim(self, z: Tensor) -> Tensor:
        return torch.tensor([part.dim for part in self.parts], device=z.device)[self.component(z)]

    def _by_part(self, numbers: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Of what each part gives ``(..., *)`` that of the part in ``numbers (...)``."""
        result = values[0]
        for i, value in enumerate(values[1:], 1):
            mine = (numbers == i).view((*numbers.shape, *[1] * (value.ndim - numbers.ndim)))
            result = torch.where(mine, value, result)
        return result

    # ---------------------------------------------------------------- the space
    def project(self, z: Tensor) -> Tensor:
        near, best = self._candidates(z)
        return near.gather(-2, best[..., None, None].expand(*best.shape, 1, near.shape[-1])).squeeze(-2)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        first, second = torch.broadcast_tensors(self.component(a), self.component(b))
        within = self._by_part(first, [part.distance(a, b) for part in self.parts])
        return torch.where(first == second, within, self._reach(a) + self._reach(b))

    def _reach(self, z: Tensor) -> Tensor:
        """The way ``(...)`` to the joint; infinite where there is none."""
        if self._joint is None:
            return torch.full_like(z[..., 0], torch.inf)
        joint = self._joint.to(z).expand_as(z)
        return self._by_part(self.component(z), [part.distance(z, joint) for part in self.parts])

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return self._by_part(self.component(z + 0 * v), [part.exp(z, v) for part in self.parts])

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = torch.broadcast_tensors(a, b)
        first, same = self.component(a), (self.component(a) == self.component(b)).unsqueeze(-1)
        goal = b if self._joint is None else torch.where(same, b, self._joint.to(b))
        step = self._by_part(first, [part.log(a, goal) for part in self.parts])
        if self._joint is None:
            return torch.where(same, step, 0.0)
        reach = self._reach(a)
        longer = (reach + self._reach(b)) / torch.where(reach > 0, reach, 1.0)
        return torch.where(same, step, step * longer.unsqueeze(-1))

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Between parts that are apart: ``a`` before the middle, ``b`` from there on."""
        shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1], t.shape)
        t, (a, b) = t.expand(shape), (end.expand(*shape, self.ambient_dim) for end in (a, b))
        first, second = self.component(a), self.component(b)
        within = self._by_part(first, [part.geodesic(a, b, t) for part in self.parts])
        if self._joint is None:
            across = torch.where((t < 0.5).unsqueeze(-1), a, b)
        else:
            joint, out, home = self._joint.to(a).expand_as(a), self._reach(a), self._reach(b)
            tiny = torch.finfo(a.dtype).tiny
            gone = t * (out + home)
            to, on = gone / out.clamp_min(tiny), (gone - out) / home.clamp_min(tiny)
            ways = [part.geodesic(a, joint, to.clamp(0, 1)) for part in self.parts]
            begin = self._by_part(first, ways)
            ways = [part.geodesic(joint, b, on.clamp(0, 1)) for part in self.parts]
            across = torch.where((gone < out).unsqueeze(-1), begin, self._by_part(second, ways))
        return torch.where((first == second).unsqueeze(-1), within, across)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return self._by_part(self.component(z + 0 * v), [part.tangent(z, v) for part in self.parts])

    def frame(self, z: Tensor) -> Tensor:
        """Rows beyond the dimension of a part are 0."""
        frames = [part.frame(z) for part in self.parts]
        frames = [torch.nn.functional.pad(rows, (0, 0, 0, self.dim - rows.shape[-2])) for rows in frames]
        return self._by_part(self.component(z), frames)

    def sample(self, n: int, noise: Noise) -> Tensor:
        ends = self.shares.cumsum(0).to(noise.device)
        which = torch.searchsorted(ends, noise.uniform("component", (n,)).double())
        which = which.clamp_max(len(self.parts) - 1)
        return self._by_part(which, [part.sample(n, noise.at(i)) for i, part in enumerate(self.parts)])

    # ---------------------------------------------------------------- coordinates
    def read(self, z: Tensor) -> Tensor:
        which = self.component(z)
        middle = z.new_tensor([(c.low + c.high) / 2 for c in self.coordinates])
        rows = []
        for i, (part, columns) in enumerate(zip(self.parts, self._columns, strict=True)):
            row = middle.expand(*z.shape[:-1], len(middle)).clone()
            row[..., 0] = i
            row[..., columns] = part.read(part.project(z))
            rows.append(row)
        return self._by_part(which, rows)

    def point(self, y: Tensor) -> Tensor:
        which = y[..., 0].round().long().clamp(0, len(self.parts) - 1)
        rows = [part.point(y[..., columns]) for part, columns in zip(self.parts, self._columns, strict=True)]
        return self._by_part(which, rows)

    def drawn(self, z: Tensor) -> Tensor | None:
        return z if self.ambient_dim in (2, 3) else None

    def curves(self) -> tuple[Tensor, ...]:
        return tuple(curve for part in self.parts for curve in part.curves())

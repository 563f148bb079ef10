"""A latent space with a metric: pulled back from data space by a map, or given outright."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from latentrun.functional.jacobians import jvp
from latentrun.geometry.push import Map, flat, push, rows_at_once, width_of


@dataclass(frozen=True)
class Quadratic:
    """The energy ``(P,)`` of P curves of T points, and how it changes with these: its ``gradient (P, T, d)``
    and the Gauss-Newton form of its second derivative, block tridiagonal: ``diagonal (P, T, d, d)`` and, of
    point t and t + 1, ``beside (P, T - 1, d, d)``."""

    energy: Tensor
    gradient: Tensor
    diagonal: Tensor
    beside: Tensor

    def of(self, rows: Tensor) -> Quadratic:
        """Of some of the curves."""
        return Quadratic(self.energy[rows], self.gradient[rows], self.diagonal[rows], self.beside[rows])

    def put(self, rows: Tensor, other: Quadratic) -> None:
        """Take over what ``other`` says of the curves ``rows``, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


def joined(parts: list[Quadratic]) -> Quadratic:
    """Of all curves of several."""
    return Quadratic(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Quadratic)))


class Surface(ABC):
    """A chart R^dim with a Riemannian metric M(z).

    Everything takes points ``z (N, d)`` and tangent vectors ``v (N, d)`` and is worked out in pieces that fit
    the cache, so that memory does not grow with N beyond that of what is returned.
    """

    dim: int

    def metric(self, z: Tensor) -> Tensor:
        """M(z) ``(N, d, d)``, symmetric."""
        return self.metric_at_once(z)

    @abstractmethod
    def metric_at_once(self, z: Tensor) -> Tensor:
        """The same in one piece, as a function that can be differentiated."""

    @abstractmethod
    def christoffel(self, z: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """Gamma(v, w) ``(N, d)``: a vector w is carried along a curve by w' = -Gamma(c', w)."""

    @abstractmethod
    def squared_steps(self, curve: Tensor) -> Tensor:
        """Squared length ``(P, T - 1)`` of the steps of P curves ``(P, T, d)``: the chord in data space, or
        the metric in the middle of the step."""

    @abstractmethod
    def quadratic(self, curve: Tensor) -> Quadratic:
        """The energy of curves ``(P, T, d)`` to second order in their points."""

    def acceleration(self, z: Tensor, v: Tensor) -> Tensor:
        """-Gamma(v, v) ``(N, d)``: how the coordinates of a geodesic through z with velocity v bend, c'' =
        -Gamma(c', c')."""
        return -self.christoffel(z, v, v)

    def secant_acceleration(self, z: Tensor, v: Tensor) -> Tensor:
        """The same for a step of the length of v, by differences over it where the map has no second
        derivative to speak of: that of a network of ReLU is 0 but at its kinks, where all its curvature
        is."""
        return self.acceleration(z, v)

    def magnification(self, z: Tensor) -> Tensor:
        """log sqrt(det M(z)) ``(N,)``: logarithm of the volume that a unit of latent volume is decoded to."""
        return 0.5 * torch.linalg.slogdet(self.metric(z)).logabsdet

    def length(self, curve: Tensor) -> Tensor:
        """Length ``(P,)`` of smooth curves ``(P, T, d)``, T odd: the sum over the steps, whose error falls
        like T^-2, and over pairs of steps, extrapolated to an error like T^-4 (Richardson)."""
        return self.measured(curve)[0]

    def energy(self, curve: Tensor) -> Tensor:
        """Half the integral of the squared speed ``(P,)``, half the squared length of a geodesic;
        extrapolated like the length."""
        return self.measured(curve)[1]

    def measured(self, curve: Tensor) -> tuple[Tensor, Tensor]:
        """Length and energy, for little more than one of them."""
        fine, coarse = self.squared_steps(curve), self.squared_steps(curve[:, ::2])
        length = (4 * fine.sqrt().sum(1) - coarse.sqrt().sum(1)) / 3
        return length, (4 * _energy(fine) - _energy(coarse)) / 3

    def discrete_energy(self, curve: Tensor) -> Tensor:
        """(n / 2) sum of the n squared steps ``(P,)`` of curves ``(P, n + 1, d)``."""
        return _energy(self.squared_steps(curve))


def _energy(squared_steps: Tensor) -> Tensor:
    return 0.5 * squared_steps.shape[1] * squared_steps.sum(1)


class Immersed(Surface):
    """The metric J'J that a map z -> x takes from the distance of data space (Arvanitidis et al. 2018, arXiv
    1710.11379, theorem 1).

    ``function``: of points ``(N, d)`` to rows ``(N, ...)`` or several such, as mean and standard deviation of
    p(x|z), whose metrics add: M = J_mu' J_mu + J_sigma' J_sigma, the expectation of the metric of a draw.

    >>> plane = Immersed(lambda z: z @ torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), dim=2)
    >>> plane.metric(torch.zeros(1, 2))
    tensor([[[4., 0.],
             [0., 1.]]])
    """

    def __init__(self, function: Map, dim: int):
        self.function, self.dim = function, dim
        self._width: int | None = None  # of the widest layer, once it is known

    def points(self, z: Tensor) -> Tensor:
        """f(z) ``(N, D)``."""
        return torch.cat([flat(self.function(part)) for part in z.split(self._rows(z, 0))])

    def columns(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) ``(N, D)`` and the columns of J, ``(d, N, D)``, of as many rows as are given."""
        return push(self.function, z, torch.eye(self.dim, dtype=z.dtype, device=z.device))

    def _rows(self, z: Tensor, tangents: int) -> int:
        """How many rows go through the map at once."""
        if self._width is None:
            self._width = width_of(self.function, z)
        return rows_at_once(self._width, tangents)

    def metric(self, z: Tensor) -> Tensor:
        rows = self._rows(z, self.dim)
        # In place: parts that are kept one by one leave gaps in memory.
        metric = z.new_empty(len(z), self.dim, self.dim)
        for begin in range(0, len(z), rows):
            metric[begin : begin + rows] = self.metric_at_once(z[begin : begin + rows])
        return metric

    def metric_at_once(self, z: Tensor) -> Tensor:
        return gram(self.columns(z)[1])

    def squared_steps(self, curve: Tensor) -> Tensor:
        at_once = max(1, self._rows(curve[:1].flatten(0, 1), 0) // curve.shape[1])
        return torch.cat([self._squared_steps(some) for some in curve.split(at_once)])

    def _squared_steps(self, curve: Tensor) -> Tensor:
        x = self.points(curve.flatten(0, 1))
        return x.unflatten(0, curve.shape[:2]).diff(dim=1).square().sum(-1)

    def quadratic(self, curve: Tensor) -> Quadratic:
        """Of (n / 2) sum |x_t+1 - x_t|², a sum of squares: second derivatives of the map are left out."""
        at_once = max(1, self._rows(curve[0], self.dim) // curve.shape[1])
        return joined([self._quadratic(some) for some in curve.split(at_once)])

    def _quadratic(self, curve: Tensor) -> Quadratic:
        shape, n = curve.shape[:2], curve.shape[1] - 1
        x, columns = self.columns(curve.flatten(0, 1))
        x = x.unflatten(0, shape)
        j = columns.unflatten(1, shape).permute(1, 2, 0, 3)  # (P, T, d, D)
        steps = x.diff(dim=1)
        force = nn.functional.pad(steps, (0, 0, 1, 0)) - nn.functional.pad(steps, (0, 0, 0, 1))
        diagonal = 2 * n * (j @ j.mT)
        diagonal[:, [0, -1]] /= 2  # an end has one step
        return Quadratic(
            energy=0.5 * n * steps.square().sum((1, 2)),
            gradient=n * (j @ force.unsqueeze(-1)).squeeze(-1),
            diagonal=diagonal,
            beside=-n * (j[:, :-1] @ j[:, 1:].mT),
        )

    def christoffel(self, z: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """M^-1 J' f''(v, w)."""
        rows = self._rows(z, self.dim + 3)
        pieces = zip(z.split(rows), v.split(rows), w.split(rows), strict=True)
        return torch.cat([self._christoffel(*piece) for piece in pieces])

    def secant_acceleration(self, z: Tensor, v: Tensor) -> Tensor:
        """-M^-1 J' (f(z + v) - 2 f(z) + f(z - v)), for small v that of the geodesic."""
        rows = self._rows(z, self.dim + 3)
        pieces = zip(z.split(rows), v.split(rows), strict=True)
        return torch.cat([self._secant_acceleration(*piece) for piece in pieces])

    def _secant_acceleration(self, z: Tensor, v: Tensor) -> Tensor:
        x, columns = self.columns(z)
        bend = flat(self.function(z + v)) - 2 * x + flat(self.function(z - v))
        return -_solved(gram(columns), torch.einsum("dnD,nD->nd", columns, bend))

    def _christoffel(self, z: Tensor, v: Tensor, w: Tensor) -> Tensor:
        def along(z: Tensor) -> Tensor:
            return push(self.function, z, w.unsqueeze(0))[1][0]

        bend = jvp(along, (z,), (v,))[1]
        columns = self.columns(z)[1]
        pulled = torch.einsum("dnD,nD->nd", columns, bend)
        return _solved(gram(columns), pulled)


def _solved(m: Tensor, force: Tensor) -> Tensor:
    """M^-1 ``force (N, d)``; not finite where M is singular: that is for those to judge who go there."""
    return torch.linalg.solve_ex(m, force.unsqueeze(-1))[0].squeeze(-1)


def gram(columns: Tensor) -> Tensor:
    """J'J ``(N, d, d)`` from the columns ``(d, N, D)`` of J."""
    j = columns.transpose(0, 1)
    return j @ j.mT


class Given(Surface):
    """A metric that is given as a function ``(N, d)`` to ``(N, d, d)``, differentiable.

    >>> half_plane = Given(lambda z: torch.eye(2) / z[:, 1:, None].square(), dim=2)
    >>> v = torch.tensor([[1.0, 0.0]])
    >>> half_plane.christoffel(torch.tensor([[0.0, 1.0]]), v, v)  # geodesics bend towards the axis
    tensor([[0., 1.]])
    """

    def __init__(self, function: Callable[[Tensor], Tensor], dim: int):
        self.function, self.dim = function, dim

    def metric_at_once(self, z: Tensor) -> Tensor:
        return self.function(z)

    def squared_steps(self, curve: Tensor) -> Tensor:
        middle, step = 0.5 * (curve[:, 1:] + curve[:, :-1]), curve.diff(dim=1)
        m = self.function(middle.flatten(0, 1)).unflatten(0, middle.shape[:2])
        return torch.einsum("pti,ptij,ptj->pt", step, m, step)

    def quadratic(self, curve: Tensor) -> Quadratic:
        """Of (n / 2) sum s_t' M(middle of step t) s_t: exact second derivatives of every step, of which the
        directions of negative curvature are left out."""
        n, d = curve.shape[1] - 1, self.dim
        steps = torch.cat([curve[:, :-1], curve[:, 1:]], dim=2)  # the two ends of each, (P, T - 1, 2 d)
        energy, gradient, second = _second_order(self._step_energy, steps.flatten(0, 1))
        values, vectors = torch.linalg.eigh(second)
        second = ((vectors * values.clamp_min(0).unsqueeze(1)) @ vectors.mT).unflatten(0, steps.shape[:2])
        first, last = gradient.unflatten(0, steps.shape[:2]).split(d, dim=2)
        pad = nn.functional.pad
        return Quadratic(
            energy=n * energy.unflatten(0, steps.shape[:2]).sum(1),
            gradient=n * (pad(first, (0, 0, 0, 1)) + pad(last, (0, 0, 1, 0))),
            diagonal=n
            * (pad(second[..., :d, :d], (0, 0, 0, 0, 0, 1)) + pad(second[..., d:, d:], (0, 0, 0, 0, 1, 0))),
            beside=n * second[..., :d, d:],
        )

    def _step_energy(self, ends: Tensor) -> Tensor:
        """½ s' M(middle) s ``(N,)`` of steps ``(N, 2 d)``."""
        a, b = ends.split(self.dim, dim=1)
        return 0.5 * torch.einsum("ni,nij,nj->n", b - a, self.function(0.5 * (a + b)), b - a)

    def christoffel(self, z: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """½ M^-1 (dM[v] w + dM[w] v - grad v' M w)."""
        along_v, along_w = (jvp(self.function, (z,), (direction,))[1] for direction in (v, w))
        gradient = _gradient(lambda z: torch.einsum("ni,nij,nj->n", v, self.function(z), w), z)
        force = (along_v @ w.unsqueeze(-1) + along_w @ v.unsqueeze(-1)).squeeze(-1) - gradient
        return 0.5 * _solved(self.function(z), force)


def _second_order(function: Callable[[Tensor], Tensor], y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values ``(N,)``, gradients ``(N, k)`` and second derivatives ``(N, k, k)`` of a function of rows ``y
    (N, k)``, row n of what it returns depending on row n alone."""

    def along(direction: Tensor) -> Tensor:
        return jvp(lambda y: _gradient(function, y), (y,), (direction.expand_as(y),))[1]

    second = vmap(along)(torch.eye(y.shape[1], dtype=y.dtype, device=y.device))
    return function(y), _gradient(function, y), second.transpose(0, 1)


def _gradient(function: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """The gradient ``(N, k)`` of a function ``(N,)`` of rows ``y (N, k)``."""
    return grad(lambda y: function(y).sum())(y)

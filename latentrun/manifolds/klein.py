"""Flat surfaces that are one-sided: the Klein bottle, and the Moebius strip that is a part of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentrun.functional.statistics.circular import unit
from latentrun.manifolds.angles import TURN, length, share, wrap
from latentrun.manifolds.base import Charted
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

STARTS = 64  # of the search for a nearest point, evenly spaced; there are at most two maxima among them
STEPS = 8  # of Newton's method, from each
HIGH = math.sqrt(3) / 2
WIDTH = 0.5  # half the width of the Moebius strip, whose middle circle is pi long


class Klein(Charted):
    """The plane with (u, t), (u + 2 pi, t) and (-u, t + pi) one point: ``klein`` in short. It is flat, and
    lies in R^5, on the unit sphere there, smoothly, without crossing itself and without distortion, by

        phi(u, t) = (sqrt(3)/2 cos u, cos u cos 2t / 2, cos u sin 2t / 2, sin u cos t, sin u sin t),

    for |phi_u| = |phi_t| = 1 and phi_u . phi_t = 0. (The first coordinate gives cos u; where cos u is not 0
    the next two give t modulo pi, where sin u is not 0 the last two give (u, t) but for (-u, t + pi).) So
    lengths, areas and geodesics are those of the plane: distances are the least over all pre-images.
    ``across`` is u, ``along`` is t in [0, pi).

    The nearest point maximises z . phi. For given t the best u is known and leaves a trigonometric polynomial
    of t with at most two maxima in [0, pi): both are found on a grid and by Newton's method.

    >>> point = phi(torch.tensor([0.3, 0.0]))
    >>> Klein().distance(point, phi(torch.tensor([-0.3, 3.1415927]))).round(decimals=5)  # the same point
    tensor(0.)
    """

    dim, ambient_dim, name = 2, 5, "klein"
    betti: tuple[int, ...] | None = (1, 2, 1)
    log_volume = math.log(TURN * math.pi)
    border: float | None = None  # largest |u|
    coordinates = (
        Factor("across", "cyclic", 0.0, TURN, "rad"),
        Factor("along", "cyclic", 0.0, math.pi, "rad"),
    )

    # ---------------------------------------------------------------- the surface
    def project(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            place = self._nearest(z).detach()
            first, second = _tangents(place)
            bends = _bends(place)
            uu, ut, tt = ((bend * z).sum(-1).detach() for bend in bends)
        # One step of Newton's, which is 0 here, has the gradient of the nearest point.
        slope_u, slope_t = (first * z).sum(-1), (second * z).sum(-1)
        inner = self._inside(place[..., 0])
        tiny = torch.finfo(z.dtype).eps
        det = (uu * tt - ut * ut).clamp_min(tiny)
        step_u = torch.where(inner, (ut * slope_t - tt * slope_u) / det, torch.zeros_like(det))
        step_t = torch.where(inner, (ut * slope_u - uu * slope_t) / det, slope_t / (-tt).clamp_min(tiny))
        settled = torch.stack([step_u, step_t], dim=-1)
        return phi(place + settled - settled.detach())

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return length(self._between(a, b))

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        place = self._place(z)
        moved = place + torch.stack([(v * axis).sum(-1) for axis in _tangents(place)], dim=-1)
        if self.border is not None:
            across = moved[..., 0].clamp(-self.border, self.border)
            moved = torch.stack([across, moved[..., 1]], dim=-1)
        return phi(moved)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        step = self._between(a, b)
        first, second = _tangents(self._place(a))
        return step[..., :1] * first + step[..., 1:] * second

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return sum(((v * axis).sum(-1, keepdim=True) * axis for axis in _tangents(self._place(z))), 0.0 * v)

    def frame(self, z: Tensor) -> Tensor:
        return torch.stack(_tangents(self._place(z)), dim=-2)

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.embed(noise.uniform(self.name, (n, 2)))

    def drawn(self, z: Tensor) -> Tensor | None:
        """In space, where it has to cross itself: the figure eight that makes half a turn on its way."""
        u, t = self._place(z).unbind(-1)
        high = t.sin() * u.sin() + t.cos() * (2 * u).sin()
        far = 2 + t.cos() * u.sin() - t.sin() * (2 * u).sin()
        return torch.cat([far.unsqueeze(-1) * unit(2 * t), high.unsqueeze(-1)], dim=-1)

    # ---------------------------------------------------------------- the chart
    def embed(self, u: Tensor) -> Tensor:
        low, high = (u.new_tensor([getattr(c, end) for c in self.coordinates]) for end in ("low", "high"))
        return phi(low + (high - low) * u)

    def unembed(self, z: Tensor) -> Tensor:
        u, t = self._place(z).unbind(-1)
        return torch.stack([share(u.sin(), u.cos()), t / math.pi], dim=-1)

    def _place(self, z: Tensor) -> Tensor:
        """(u, t) ``(..., 2)`` of points of the surface, u in [-pi, pi], t in [0, pi)."""
        sine2 = z[..., 3:].square().sum(-1)
        sign = torch.where(z[..., 0] < 0, -1.0, 1.0).to(z.dtype)
        # t from whichever of sin u and cos u is the larger.
        by_sine = math.pi * share(z[..., 4], z[..., 3], math.pi)
        by_cosine = math.pi * share(sign * z[..., 2], sign * z[..., 1])
        t = torch.where(sine2 > 0.5, by_sine, by_cosine)
        sine = (z[..., 3:] * unit(t)).sum(-1)
        return torch.stack([torch.atan2(sine, z[..., 0] / HIGH), t], dim=-1)

    def _between(self, a: Tensor, b: Tensor) -> Tensor:
        """The shortest way ``(..., 2)`` in the plane from ``a`` to a pre-image of ``b``."""
        (u, t), (v, s) = self._place(a).unbind(-1), self._place(b).unbind(-1)
        even = torch.stack([self._around(v - u), wrap(s - t)], dim=-1)
        odd = torch.stack([self._around(-v - u), wrap(s - t - math.pi)], dim=-1)
        nearer = even.square().sum(-1, keepdim=True) <= odd.square().sum(-1, keepdim=True)
        return torch.where(nearer, even, odd)

    def _around(self, u: Tensor) -> Tensor:
        """A difference of u by the shorter way."""
        return wrap(u)

    def _inside(self, u: Tensor) -> Tensor:
        return torch.ones_like(u, dtype=torch.bool)

    # ---------------------------------------------------------------- the nearest point
    def _nearest(self, z: Tensor) -> Tensor:
        """(u, t) ``(..., 2)`` of the nearest point to any ``z``."""
        grid = torch.arange(STARTS, dtype=z.dtype, device=z.device) * (math.pi / STARTS)
        t = _two_best(_height(z.unsqueeze(-2), grid)[0], grid)
        for _ in range(STEPS):
            t = _climb(t, _height(z.unsqueeze(-2), t)[1:], math.pi / STARTS)
        alpha, beta = _parts(z.unsqueeze(-2), t)
        return _best(z, torch.stack([torch.atan2(beta, alpha), t], dim=-1))


class Moebius(Klein):
    """The strip |u| <= 1/2 of the Klein bottle: ``moebius`` in short. Flat, of width 1, with a middle circle
    of length pi along which the sides change places. Paths end at the border.

    The nearest point is the nearest of that of the bottle, if it lies in the strip, and of those of the
    border, which is one closed curve and again a trigonometric polynomial.

    >>> Moebius().distance(phi(torch.tensor([0.5, 0.0])), phi(torch.tensor([-0.5, 3.1]))).round(decimals=4)
    tensor(0.0416)
    """

    name = "moebius"
    betti = (1, 1)
    log_volume = math.log(2 * WIDTH * math.pi)
    border = WIDTH
    coordinates = (
        Factor("across", "real", -WIDTH, WIDTH),
        Factor("along", "cyclic", 0.0, math.pi, "rad"),
    )

    def drawn(self, z: Tensor) -> Tensor | None:
        """The band that makes half a turn on its way round."""
        u, t = self._place(z).unbind(-1)
        far = 1 + u * t.cos()
        return torch.cat([far.unsqueeze(-1) * unit(2 * t), (u * t.sin()).unsqueeze(-1)], dim=-1)

    def from_numbers(self, h: Tensor) -> Tensor:
        """The angle of (h_2, h_3) is 2 t. The part of (h_4, h_5) along (cos t, sin t) is x, and u = WIDTH x /
        sqrt(1 + x²): t + pi names the point with -x, the same one, so that nothing jumps where t goes round.
        The first number is not used."""
        t = math.pi * share(h[..., 2], h[..., 1])
        x = (h[..., 3:] * unit(t)).sum(-1)
        return phi(torch.stack([WIDTH * x / (1 + x.square()).sqrt(), t], dim=-1))

    def unembed(self, z: Tensor) -> Tensor:
        u, t = self._place(z).unbind(-1)
        return torch.stack([((u + WIDTH) / (2 * WIDTH)).clamp(0, 1), t / math.pi], dim=-1)

    def _around(self, u: Tensor) -> Tensor:
        return u

    def _inside(self, u: Tensor) -> Tensor:
        return u.abs() < WIDTH

    def _nearest(self, z: Tensor) -> Tensor:
        grid = torch.arange(STARTS, dtype=z.dtype, device=z.device) * (math.pi / STARTS)
        t = _two_best(_height(z.unsqueeze(-2), grid)[0], grid)
        edge = _two_best(_edge(z.unsqueeze(-2), 2 * grid)[0], 2 * grid)
        for _ in range(STEPS):
            t = _climb(t, _height(z.unsqueeze(-2), t)[1:], math.pi / STARTS)
            edge = _climb(edge, _edge(z.unsqueeze(-2), edge)[1:], TURN / STARTS)
        alpha, beta = _parts(z.unsqueeze(-2), t)
        inner = torch.stack([torch.atan2(beta, alpha).clamp(-WIDTH, WIDTH), t], dim=-1)
        outer = torch.stack([torch.full_like(edge, WIDTH), edge], dim=-1)
        return _best(z, torch.cat([inner, outer], dim=-2))


# ---------------------------------------------------------------- phi and its derivatives
def phi(place: Tensor) -> Tensor:
    """The point ``(..., 5)`` of (u, t) ``(..., 2)``: see :class:`Klein`."""
    u, t = place.unbind(-1)
    c, s = u.cos().unsqueeze(-1), u.sin().unsqueeze(-1)
    return torch.cat([HIGH * c, 0.5 * c * unit(2 * t), s * unit(t)], dim=-1)


def _tangents(place: Tensor) -> tuple[Tensor, Tensor]:
    """phi_u and phi_t, of length 1 and at right angles."""
    u, t = place.unbind(-1)
    c, s = u.cos().unsqueeze(-1), u.sin().unsqueeze(-1)
    first = torch.cat([-HIGH * s, -0.5 * s * unit(2 * t), c * unit(t)], dim=-1)
    second = torch.cat([torch.zeros_like(c), c * _turned(2 * t), s * _turned(t)], dim=-1)
    return first, second


def _bends(place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """phi_uu, phi_ut, phi_tt."""
    u, t = place.unbind(-1)
    c, s = u.cos().unsqueeze(-1), u.sin().unsqueeze(-1)
    none = torch.zeros_like(c)
    mixed = torch.cat([none, -s * _turned(2 * t), c * _turned(t)], dim=-1)
    second = torch.cat([none, -2 * c * unit(2 * t), -s * unit(t)], dim=-1)
    return -phi(place), mixed, second


def _turned(angle: Tensor) -> Tensor:
    """The derivative of :func:`unit`."""
    return torch.stack([-angle.sin(), angle.cos()], dim=-1)


def _parts(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """z . phi(u, t) = alpha cos u + beta sin u."""
    alpha = HIGH * z[..., 0] + 0.5 * (z[..., 1:3] * unit(2 * t)).sum(-1)
    return alpha, (z[..., 3:] * unit(t)).sum(-1)


def _height(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """alpha² + beta², the square of the largest z . phi over u, with its first two derivatives by t."""
    alpha, beta = _parts(z, t)
    alpha1, beta1 = (z[..., 1:3] * _turned(2 * t)).sum(-1), (z[..., 3:] * _turned(t)).sum(-1)
    alpha2 = -2 * (z[..., 1:3] * unit(2 * t)).sum(-1)
    slope = 2 * (alpha * alpha1 + beta * beta1)
    bend = 2 * (alpha1.square() + alpha * alpha2 + beta1.square() - beta.square())
    return alpha.square() + beta.square(), slope, bend


def _edge(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z . phi on the border of the strip, with its first two derivatives by t."""
    place = torch.stack(torch.broadcast_tensors(torch.full_like(t, WIDTH), t), dim=-1)
    parts = phi(place), _tangents(place)[1], _bends(place)[2]
    value, slope, bend = ((z * part).sum(-1) for part in parts)
    return value, slope, bend


# ---------------------------------------------------------------- maxima
def _two_best(values: Tensor, grid: Tensor) -> Tensor:
    """The places ``(..., 2)`` on a cyclic grid ``(G,)`` of the two highest local maxima of ``values (...,
    G)``."""
    peak = (values >= values.roll(1, -1)) & (values >= values.roll(-1, -1))
    return grid[torch.where(peak, values, -torch.inf).topk(2, dim=-1).indices]


def _climb(t: Tensor, slopes: tuple[Tensor, Tensor], most: float) -> Tensor:
    """One step of Newton's method towards a maximum, at most ``most`` long."""
    slope, bend = slopes
    tiny = torch.finfo(t.dtype).tiny
    newton = slope / (-bend).clamp_min(tiny)
    return t + torch.where(bend < 0, newton, most * slope.sign()).clamp(-most, most)


def _best(z: Tensor, places: Tensor) -> Tensor:
    """Of places ``(..., K, 2)`` the one ``(..., 2)`` with the largest z . phi."""
    best = (z.unsqueeze(-2) * phi(places)).sum(-1).argmax(-1)
    return places.gather(-2, best[..., None, None].expand(*best.shape, 1, 2)).squeeze(-2)

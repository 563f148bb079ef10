"""Geodesics from a point and a velocity, and what is carried along curves: initial-value problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.geometry.surface import Surface

Slope = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Shots:
    """Geodesics c_p with c(0) and c'(0) given. ``curve`` and ``velocity (P, T, d)`` at evenly spaced times
    from 0 to 1; ``error (P,)``: by how much the end moves, as a share of the way, when half as many steps are
    taken, an upper bound of what it is off by; ``converged (P,)``: finite, and below the tolerance."""

    curve: Tensor
    velocity: Tensor
    error: Tensor
    converged: Tensor

    @property
    def end(self) -> Tensor:
        """c(1) ``(P, d)``."""
        return self.curve[:, -1]


def shoot(surface: Surface, z: Tensor, v: Tensor, steps: int = 64, tolerance: float = 1e-4) -> Shots:
    """The exponential map of ``v`` at ``z (P, d)``: c'' = -Gamma(c', c'), by so many Runge-Kutta steps of
    order 4, an even number."""
    d = z.shape[1]
    path, coarse = followed(surface, z, v, steps), followed(surface, z, v, steps // 2)
    curve, velocity = path.transpose(0, 1).split(d, dim=2)
    way = curve.diff(dim=1).norm(dim=2).sum(1)
    error = (path[-1, :, :d] - coarse[-1, :, :d]).norm(dim=1) / way.clamp_min(torch.finfo(z.dtype).tiny)
    return Shots(curve, velocity, error, torch.isfinite(path).all(0).all(1) & (error <= tolerance))


def followed(surface: Surface, z: Tensor, v: Tensor, steps: int) -> Tensor:
    """Positions and velocities ``(steps + 1, P, 2 d)`` of geodesics that leave ``z`` with ``v (P, d)``."""
    d = z.shape[1]

    def slope(_: float, state: Tensor) -> Tensor:
        position, velocity = state.split(d, dim=1)
        return torch.cat([velocity, surface.acceleration(position, velocity)], dim=1)

    return integrate(slope, torch.cat([z, v], dim=1), steps)


def carry(surface: Surface, curve: Tensor, w: Tensor) -> Tensor:
    """Parallel transport of ``w (P, d)`` along curves ``(P, T, d)`` of evenly spaced times, T odd: ``(P, T',
    d)`` at every second of them, w' = -Gamma(c', w). Lengths of what is carried, and angles, stay as they
    are."""
    times = curve.shape[1] - 1
    velocity = torch.gradient(curve, spacing=1 / times, dim=1, edge_order=2)[0]

    def slope(t: float, w: Tensor) -> Tensor:
        place = round(t * times)  # a Runge-Kutta step of two intervals looks at ends and middle alone
        return -surface.christoffel(curve[:, place], velocity[:, place], w)

    return integrate(slope, w, times // 2).transpose(0, 1)


def integrate(slope: Slope, state: Tensor, steps: int) -> Tensor:
    """``(steps + 1, P, ...)``: y' = slope(t, y) from t = 0 to 1, by Runge and Kutta's method of order 4."""
    path, h = [state], 1 / steps
    for number in range(steps):
        t, y = number * h, path[-1]
        k1 = slope(t, y)
        k2 = slope(t + 0.5 * h, y + 0.5 * h * k1)
        k3 = slope(t + 0.5 * h, y + 0.5 * h * k2)
        k4 = slope(t + h, y + h * k3)
        path.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return torch.stack(path)

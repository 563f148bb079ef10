"""Surfaces whose geodesics are known: a map into space, and the distance between any two points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentrun.geometry.surface import Given, Immersed

FLAT = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)


def flat() -> Immersed:
    return Immersed(lambda z: z @ FLAT, 2)


def sphere() -> Immersed:
    """z = (polar angle, azimuth)."""
    return Immersed(on_sphere, 2)


def on_sphere(z: Tensor) -> Tensor:
    polar, azimuth = z.unbind(-1)
    return torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], dim=-1)


def great_circle(a: Tensor, b: Tensor) -> Tensor:
    return (on_sphere(a) * on_sphere(b)).sum(-1).clamp(-1, 1).acos()


def cylinder() -> Immersed:
    return Immersed(lambda z: torch.stack([z[:, 0].cos(), z[:, 0].sin(), z[:, 1]], dim=-1), 2)


def swiss_roll() -> Immersed:
    return Immersed(
        lambda z: torch.stack([z[:, 0] * z[:, 0].cos(), z[:, 0] * z[:, 0].sin(), z[:, 1]], dim=-1), 2
    )


def unrolled(a: Tensor, b: Tensor) -> Tensor:
    def along(t: Tensor) -> Tensor:  # length of the spiral up to t
        return 0.5 * (t * (1 + t * t).sqrt() + torch.asinh(t))

    return torch.hypot(along(a[:, 0]) - along(b[:, 0]), a[:, 1] - b[:, 1])


def half_plane() -> Given:
    """The hyperbolic plane, given as a metric."""
    return Given(lambda z: torch.eye(2, dtype=z.dtype) / z[:, 1, None, None].square(), 2)


def hyperbolic(a: Tensor, b: Tensor) -> Tensor:
    return torch.arccosh(1 + (a - b).square().sum(-1) / (2 * a[:, 1] * b[:, 1]))


def box(low: tuple[float, float], high: tuple[float, float], n: int, seed: int) -> Tensor:
    u = torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(low, dtype=torch.float64) + u * (torch.tensor(high) - torch.tensor(low))


# A surface, a part of its chart where straight lines lead to the shortest way, and its distance.
KNOWN = {
    "flat": (flat, (-2.0, -2.0), (2.0, 2.0), lambda a, b: ((a - b) @ FLAT).norm(dim=1)),
    "sphere": (sphere, (0.6, 0.0), (math.pi - 0.6, 2.0), great_circle),
    "cylinder": (cylinder, (-5.0, -1.0), (5.0, 1.0), lambda a, b: (a - b).norm(dim=1)),
    "swiss_roll": (swiss_roll, (2.0, 0.0), (8.0, 6.0), unrolled),
    "half_plane": (half_plane, (-1.0, 0.5), (1.0, 2.0), hyperbolic),
}

"""Wrapped normal posteriors, against the uniform prior."""

from __future__ import annotations

import math
from typing import Annotated

from scipy.optimize import brentq
from scipy.special import hyp1f1
from torch import Tensor

from latentrun.config.bounds import Between
from latentrun.distributions.base import Law
from latentrun.distributions.circular import WrappedNormalTorus
from latentrun.distributions.wrapped import WrappedNormalRotation, WrappedNormalSphere
from latentrun.distributions.wrapped_angle import WIDEST
from latentrun.errors import InputError
from latentrun.manifolds import Manifold
from latentrun.manifolds.angles import direction
from latentrun.manifolds.sphere import rotation
from latentrun.nn.posterior import LawPosterior, kind_of, positive, require_family

MOST = 100  # dimensions of a sphere: the divergence is a sum over images and angles that grows with them


class WrappedNormalPosterior(LawPosterior):
    """On circles and tori an angle with a scale each, ``mu (N, 2 n)``, ``scale (N, n)`` = floor + softplus(h)
    in radians. On spheres and rotations (the latter as in Falorsi et al. 2019, arXiv 1903.02958, with one
    scale for all directions) ``mu (N, d)``, ``scale (N,)`` = floor + (widest - floor) sigmoid(h). ``widest``
    is pi for rotations; on spheres what :func:`turning` says: wider ones name the other side, where a
    training stays that begins there (rotations turn back at sqrt(3) too, where no training was seen to stay).
    None of them is uniform: the KL is at least 0.04 nats on S^2, 0.06 on S^3, 0.01 for rotations."""

    def __init__(self, space: Manifold, floor: Annotated[float, Between(1e-5, 1)]):
        require_family(space, "wrapped_normal")
        if space.dim > MOST and kind_of(space) == "s":
            raise InputError(f"model.posterior: wrapped_normal takes spheres up to s{MOST}, got {space.name}")
        super().__init__(space)
        self.floor, self.is_rotation = floor, kind_of(space) == "so"
        self.angles = 0 if self.is_rotation else space.dim if space.ambient_dim == 2 * space.dim else 0
        self.widest = WIDEST if self.is_rotation or self.angles else turning(space.dim)
        if not self.angles and self.floor >= self.widest:
            raise InputError(
                f"model.posterior.floor: {self.floor:g} must be less than the widest scale on {space.name}, "
                f"{self.widest:.3g}"
            )
        means = 6 if self.is_rotation else space.ambient_dim
        self.features = means + (self.angles or 1)

    def law(self, h: Tensor) -> tuple[Law, dict[str, Tensor]]:
        if self.angles:
            mu = direction(h[..., : -self.angles].unflatten(-1, (self.angles, 2))).flatten(-2)
            scale = positive(h[..., -self.angles :], self.floor)
            return WrappedNormalTorus(mu, scale), {"mu": mu, "scale": scale}
        scale = self.floor + (self.widest - self.floor) * h[..., -1].sigmoid()
        if self.is_rotation:
            mu = rotation(h[..., :-1], 3).flatten(-2)
            return WrappedNormalRotation(mu, scale), {"mu": mu, "scale": scale}
        mu = direction(h[..., :-1])
        return WrappedNormalSphere(mu, scale), {"mu": mu, "scale": scale}


def turning(d: int) -> float:
    """The scale in radians from which on a wrapped normal law on S^d, d >= 2, gathers at the antipode of mu:
    the least at which E mu.z = E cos(scale r) = 1F1(d/2; 1/2; -scale²/2) is 0, r ~ chi(d).

    >>> round(turning(3), 6)  # (1 - scale²) exp(-scale²/2)
    1.0
    """
    return float(brentq(lambda scale: hyp1f1(d / 2, 0.5, -(scale**2) / 2), 1e-3, 2.5 / math.sqrt(d)))

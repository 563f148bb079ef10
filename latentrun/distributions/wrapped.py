"""The wrapped normal law where the space is curved: on spheres and on rotations."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.axial import turned
from latentrun.distributions.base import SINGLE, Tilted
from latentrun.distributions.wrapped_angle import Angles, divergence_of
from latentrun.functional.noise import Noise
from latentrun.manifolds import SO3, Sphere
from latentrun.manifolds.angles import length
from latentrun.manifolds.so3 import matrix, rotation_of


class Wrapped(Tilted):
    """The image under the exponential map of ``mu`` of N(0, scale² I) in its tangent space, with ``scale
    (*batch)`` in radians, at most pi.

    The density is that of :class:`Angles`. One scale, not one for each direction: a sphere has no frame that
    is continuous everywhere, and the divergence is an integral over the angle alone.
    """

    mu: Tensor
    scale: Tensor
    angles: Angles

    @abstractmethod
    def angle(self, value: Tensor) -> Tensor:
        """t ``(*sample_shape, *batch)`` in [0, pi]."""

    @property
    def center(self) -> Tensor:
        return self.mu

    def log_ratio(self, value: Tensor) -> Tensor:
        least = torch.finfo(self.mu.dtype).eps
        return self.angles.log_ratio(self.angle(value).double(), self.scale.double(), least).to(self.mu.dtype)

    def kl_uniform(self) -> Tensor:
        """An integral over the angle, tabled over the scale: see
        :class:`~latentrun.distributions.wrapped_angle.Divergence`."""
        return divergence_of(self.angles)(self.scale).to(self.mu.dtype)


class WrappedNormalSphere(Wrapped):
    """On the sphere of R^d, d >= 3 (Nagano et al. 2019, arXiv 1902.02992, have it for hyperbolic space).
    ``mu (*batch, d)`` unit vectors, ``scale (*batch)``.

    >>> law = WrappedNormalSphere(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(0.1))
    >>> law.log_prob(law.center)  # -ln(2 pi 0.1²)
    tensor(2.7673)
    """

    def __init__(self, mu: Tensor, scale: Tensor):
        self.mu, self.scale, self.space = mu, scale, Sphere(mu.shape[-1] - 1)
        self.log_volume = self.space.log_volume
        self.angles = Angles(self.space.dim, 1.0, self.log_volume)
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    def angle(self, value: Tensor) -> Tensor:
        return self.space.distance(value, self.mu)

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = torch.Size(sample_shape) + self.scale.shape
        e = noise.to(self.mu.device).normal("tangent", (*shape, self.space.dim)).to(self.mu.dtype)
        v = self.scale.unsqueeze(-1) * e
        t = v.norm(dim=-1, keepdim=True)
        return turned(torch.cat([t.cos(), torch.sinc(t / math.pi) * v], -1), self.mu)


class WrappedNormalRotation(Wrapped):
    """On SO(3), R = mu exp(scale e) with e standard normal in the skew matrices (Falorsi et al. 2019, arXiv
    1903.02958, whose density this is with one scale). ``mu (*batch, 9)`` rotation matrices row by row,
    ``scale (*batch)`` the standard deviation of each of three angles.

    >>> law = WrappedNormalRotation(torch.eye(3).flatten(), torch.tensor(0.1))
    >>> law.log_prob(law.center)  # -3 ln(sqrt(2 pi) sqrt(2) 0.1): lengths are sqrt(2) times angles
    tensor(3.1112)
    """

    angles = Angles(3, 0.5, math.log(8 * math.pi**2))
    log_volume = SO3.log_volume

    def __init__(self, mu: Tensor, scale: Tensor):
        self.mu, self.scale = mu, scale
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    def angle(self, value: Tensor) -> Tensor:
        """|R - mu|² = 8 sin²(t / 2), tr(mu^T R) = 4 cos²(t / 2) - 1."""
        sine = length(value - self.mu) / math.sqrt(8)
        square = 0.25 * (1 + (value * self.mu).sum(-1))
        return 2 * torch.atan2(sine, square.clamp_min(torch.finfo(square.dtype).eps ** 2).sqrt())

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = torch.Size(sample_shape) + self.scale.shape
        e = noise.to(self.mu.device).normal("tangent", (*shape, 3)).to(self.mu.dtype)
        turn = rotation_of(self.scale.unsqueeze(-1) * e)
        return (matrix(self.mu) @ turn).flatten(-2)

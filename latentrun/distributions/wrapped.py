"""The wrapped normal law where the space is curved: on spheres and on rotations."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cache

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.axial import turned
from latentrun.distributions.base import SINGLE, Tilted
from latentrun.functional.noise import Noise
from latentrun.manifolds import SO3, Sphere
from latentrun.manifolds.angles import TURN, length
from latentrun.manifolds.so3 import matrix, rotation_of

WIDEST = math.pi  # wider ones wind around so often that the law becomes that of a random angle


class Wrapped(Tilted):
    """The image under the exponential map of ``mu`` of N(0, scale² I) in its tangent space, with ``scale
    (*batch)`` in radians, at most pi.

    A point at the angle t from mu has the images t + 2 pi k along its geodesic, and with m the dimension
        p(t) = sum_k N_m(t + 2 pi k; 0, scale²) |t + 2 pi k|^(m - 1) / (sin(c t) / c)^(m - 1)
    against the volume, where c = 1 on spheres (m their dimension) and c = ½ for rotations (m = 3). One scale,
    not one for each direction: a sphere has no frame that is continuous everywhere, and the divergence is an
    integral over t alone. The density has poles where all geodesics meet again, at -mu on spheres and, of the
    images, at mu itself; they are cut off at the machine's precision.
    """

    mu: Tensor
    scale: Tensor
    m: int
    c: float
    log_total: (
        float  # ln of the volume in the metric whose distances are t; ``log_volume``: in the space's own
    )

    @abstractmethod
    def angle(self, value: Tensor) -> Tensor:
        """t ``(*sample_shape, *batch)`` in [0, pi]."""

    @property
    def center(self) -> Tensor:
        return self.mu

    def log_ratio(self, value: Tensor) -> Tensor:
        return self._at(self.angle(value).double(), self.scale.double()).to(self.mu.dtype)

    def _at(self, t: Tensor, scale: Tensor) -> Tensor:
        """ln of p(t) times the volume."""
        # |v| <= scale (sqrt(m) + 9) but for a share of 1e-18.
        turns = math.ceil(WIDEST * (math.sqrt(self.m) + 9) / TURN)
        k = torch.arange(-turns, turns + 1, dtype=t.dtype, device=t.device)
        images = t.unsqueeze(-1) + TURN * k
        sine = torch.sin(self.c * t).clamp_min(torch.finfo(self.mu.dtype).eps) / self.c
        # The image k = 0 at t = 0 has the limit 1.
        stretch = torch.where(
            images == 0,
            torch.zeros_like(images),
            images.abs().clamp_min(1e-300).log() - sine.log().unsqueeze(-1),
        )
        exponent = -0.5 * (images / scale.unsqueeze(-1)).square() + (self.m - 1) * stretch
        constant = self.log_total - 0.5 * self.m * math.log(TURN)
        return torch.logsumexp(exponent, -1) - self.m * scale.log() + constant

    def kl_uniform(self) -> Tensor:
        """int_0^pi q(t) ln(q(t) / u(t)) dt of the law q of the angle and that of uniform points, u, by equal
        steps in the logit of t / pi; error below 1e-7 (tested)."""
        t, weight = (values.to(self.scale.device) for values in _rule(self.m))
        scale = self.scale.double().unsqueeze(-1)
        ratio = self._at(t, scale)
        log_uniform = (self.m - 1) * (torch.sin(self.c * t) / self.c).log() - self.log_total
        log_sphere = Sphere(self.m - 1).log_volume  # of directions
        q = torch.exp(ratio + log_uniform + log_sphere)
        return (q * ratio @ weight).to(self.mu.dtype)


@cache
def _rule(m: int) -> tuple[Tensor, Tensor]:
    """Nodes t in (0, pi) and weights ``(n,)``, float64."""
    with torch.inference_mode(False):
        step = min(0.15, 0.35 / math.sqrt(m))
        logit = torch.arange(-34, 34, step, dtype=torch.float64)
        y = logit.sigmoid()
        return math.pi * y, math.pi * step * y * (-logit).sigmoid()


class WrappedNormalSphere(Wrapped):
    """On the sphere of R^d, d >= 3 (Nagano et al. 2019, arXiv 1902.02992, have it for hyperbolic space).
    ``mu (*batch, d)`` unit vectors, ``scale (*batch)``.

    >>> law = WrappedNormalSphere(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(0.1))
    >>> law.log_prob(law.center)  # -ln(2 pi 0.1²)
    tensor(2.7673)
    """

    c = 1.0

    def __init__(self, mu: Tensor, scale: Tensor):
        self.mu, self.scale, self.m = mu, scale, mu.shape[-1] - 1
        self.log_volume = self.log_total = Sphere(self.m).log_volume
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    def angle(self, value: Tensor) -> Tensor:
        return Sphere(self.m).distance(value, self.mu)

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = torch.Size(sample_shape) + self.scale.shape
        e = noise.to(self.mu.device).normal("tangent", (*shape, self.m)).to(self.mu.dtype)
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

    m, c, log_total = 3, 0.5, math.log(8 * math.pi**2)
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

"""The wrapped normal law on tori."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.base import SINGLE, Tilted
from latentrun.functional.noise import Noise
from latentrun.manifolds.angles import TURN, wrap

IMAGES = torch.arange(-3.0, 4.0, dtype=torch.float64) * TURN
WIDE = 2.0  # scale from which on the Fourier sum is used; there each omits less than 1e-16
WAVES = torch.arange(1.0, 6.0, dtype=torch.float64)
# Means over a normal number by equal steps: error below 1e-10 for every function that is met here.
STEP = 0.2
NODES = torch.arange(0, 8.7, STEP, dtype=torch.float64)
WEIGHTS = torch.exp(-0.5 * NODES.square())
WEIGHTS[0] *= 0.5
WEIGHTS /= WEIGHTS.sum()


class WrappedNormalTorus(Tilted):
    """Angles theta_i = theta0_i + scale_i e_i of standard normal e, modulo 2 pi, as n pairs (cos, sin) one
    after the other (Mardia & Jupp 2000, 3.5.7). ``mu (*batch, 2 n)`` the pairs of theta0, ``scale (*batch,
    n)`` in radians. One pair is the circle s1.

    >>> law = WrappedNormalTorus(torch.tensor([1.0, 0.0]), torch.tensor([0.1]))
    >>> law.log_prob(law.center)  # -ln(0.1 sqrt(2 pi)): nothing wraps
    tensor(1.3836)
    """

    def __init__(self, mu: Tensor, scale: Tensor):
        self.mu, self.scale = mu, scale
        self.log_volume = scale.shape[-1] * math.log(TURN)
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def center(self) -> Tensor:
        return self.mu

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = torch.Size(sample_shape) + self.scale.shape
        turn = self.scale * noise.to(self.mu.device).normal("angle", tuple(shape)).to(self.mu.dtype)
        cos, sin = self.mu.unflatten(-1, (-1, 2)).unbind(-1)
        pairs = [cos * turn.cos() - sin * turn.sin(), sin * turn.cos() + cos * turn.sin()]
        return torch.stack(pairs, dim=-1).flatten(-2)

    def log_ratio(self, value: Tensor) -> Tensor:
        """Sum over angles of ln(2 pi p(theta - theta0))."""
        cos, sin = self.mu.unflatten(-1, (-1, 2)).unbind(-1)
        x, y = value.unflatten(-1, (-1, 2)).unbind(-1)
        delta = torch.atan2(cos * y - sin * x, cos * x + sin * y)
        return log_wrapped(delta, self.scale).sum(-1).to(self.mu.dtype)

    def kl_uniform(self) -> Tensor:
        """Sum over angles of E ln(2 pi p(scale e)), e standard normal, by a sum over equal steps of e: the
        nearest singularity lies scale / 2 off the real axis where phi(e) = phi(pi / scale), error below 1e-9
        (tested)."""
        scale = self.scale.double().unsqueeze(-1)
        ratio = log_wrapped(scale * NODES.to(scale.device), scale)
        return (ratio @ WEIGHTS.to(scale.device)).sum(-1).to(self.mu.dtype)


def log_wrapped(delta: Tensor, scale: Tensor) -> Tensor:
    """ln(2 pi p(delta)), float64, of the normal law N(0, scale²) wrapped onto the circle: as the sum over its
    images where it is narrow, as its Fourier series 1 + 2 sum_k exp(-k² scale² / 2) cos(k delta) where it is
    wide (DLMF 20.2.3, 20.13.4).

    >>> log_wrapped(torch.tensor(1.0), torch.tensor(100.0))  # uniform
    tensor(0., dtype=torch.float64)
    """
    delta, scale = torch.broadcast_tensors(delta.double(), scale.double())
    is_wide = scale > WIDE
    narrow = torch.where(is_wide, WIDE, scale).unsqueeze(-1)
    wide = torch.where(is_wide, scale, WIDE).unsqueeze(-1)
    within = wrap(delta)
    images = (within.unsqueeze(-1) + IMAGES.to(delta.device)) / narrow
    near = torch.logsumexp(-0.5 * images.square(), -1) - narrow.squeeze(-1).log() + 0.5 * math.log(TURN)
    k = WAVES.to(delta.device)
    waves = torch.exp(-0.5 * (k * wide).square()) * torch.cos(k * within.unsqueeze(-1))
    return torch.where(is_wide, torch.log1p(2 * waves.sum(-1)), near)

"""The diagonal normal law of Euclidean space, its draws keyed by noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl
from torch.types import _size

from latentrun.distributions.base import SINGLE, Law
from latentrun.functional.noise import Noise


class DiagonalNormal(Law):
    """N(mean, diag(exp(log_scale))²), each ``(*batch, d)``.

    >>> DiagonalNormal(torch.zeros(2), torch.zeros(2)).entropy()  # ln(2 pi e)
    tensor(2.8379)
    """

    support = constraints.real_vector

    def __init__(self, mean: Tensor, log_scale: Tensor):
        self.loc, self.log_scale = mean, log_scale
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def center(self) -> Tensor:
        return self.loc

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.log_scale.exp()

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_scale).exp()

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = tuple(self._extended_shape(torch.Size(sample_shape)))
        return self.loc + self.stddev * noise.to(self.loc.device).normal("z", shape).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        e = (value - self.loc) * torch.exp(-self.log_scale)
        return (-0.5 * e.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_scale + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


@register_kl(DiagonalNormal, DiagonalNormal)
def _kl_normal(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    ratio, apart = q.log_scale - p.log_scale, (q.loc - p.loc) * torch.exp(-p.log_scale)
    return 0.5 * (torch.exp(2 * ratio) + apart.square() - 1 - 2 * ratio).sum(-1)

"""Laws on the points of a finite set, coded one-hot."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.base import SINGLE, Tilted
from latentrun.functional.noise import Noise


class OneHot(Tilted):
    """P(point i) = softmax(logits)_i for ``logits (*batch, k)``; points are one-hot vectors of R^k.

    Draws are exact; their gradient is that of the softmax of (logits + Gumbel noise) / ``temperature``
    (straight through, Jang et al. 2017, arXiv 1611.01144), which is biased. :meth:`enumerate_support` gives
    sums over all points instead, which are not.

    >>> OneHot(torch.zeros(4), temperature=1.0).entropy().exp()
    tensor(4.)
    """

    has_enumerate_support = True

    def __init__(self, logits: Tensor, temperature: float):
        self.log_p, self.temperature = logits.log_softmax(-1), temperature
        self.log_volume = math.log(logits.shape[-1])
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def center(self) -> Tensor:
        return self._points(self.log_p)

    def _points(self, scores: Tensor) -> Tensor:
        k = scores.shape[-1]
        return torch.eye(k, dtype=scores.dtype, device=scores.device)[scores.argmax(-1)]

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = tuple(self._extended_shape(torch.Size(sample_shape)))
        # Uniform numbers are multiples of 2^-24: moved by half a step they are neither 0 nor 1.
        uniform = noise.to(self.log_p.device).uniform("gumbel", shape).double() + 2.0**-25
        scores = self.log_p - (-uniform.log()).log().to(self.log_p.dtype)
        soft = (scores / self.temperature).softmax(-1)
        return self._points(scores) + (soft - soft.detach())

    def log_ratio(self, value: Tensor) -> Tensor:
        return (value * self.log_p).sum(-1) + self.log_volume

    def kl_uniform(self) -> Tensor:
        """ln k + sum_i p_i ln p_i."""
        return self.log_volume + (self.log_p.exp() * self.log_p).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All k points ``(k, *batch, k)``, or with ``expand`` false ``(k, 1, ..., k)``."""
        k, inner = self.log_p.shape[-1], self.batch_shape
        points = torch.eye(k, dtype=self.log_p.dtype, device=self.log_p.device)
        points = points.view(k, *[1] * len(inner), k)
        return points.expand(k, *inner, k) if expand else points

"""Finite sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from latentrun.manifolds.base import Finite

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise


class Points(Finite):
    """k points as the corners of a simplex, ``c<k>`` in short: one-hot vectors of R^k, any two of them at
    distance 1. There is no path from one to another: tangent vectors are 0.

    >>> import torch
    >>> Points(3).project(torch.tensor([0.1, 0.7, 0.2]))
    tensor([0., 1., 0.])
    """

    def __init__(self, size: int):
        self.size = self.ambient_dim = size
        self.name, self.betti, self.log_volume = f"c{size}", (size,), math.log(size)

    def project(self, z: Tensor) -> Tensor:
        return F.one_hot(z.argmax(-1), self.size).to(z.dtype)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().sum(-1) / 2

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        return z.expand_as(z + v)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).new_zeros((a - b).shape)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """``a`` before the middle, ``b`` from there on."""
        return (b - a) * (t >= 0.5).to(a.dtype).unsqueeze(-1) + a

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        return self.log(z, v)

    def frame(self, z: Tensor) -> Tensor:
        return z.new_zeros((*z.shape[:-1], 0, self.size))

    def sample(self, n: int, noise: Noise) -> Tensor:
        return F.one_hot(noise.integers("points", self.size, (n,)), self.size).float()

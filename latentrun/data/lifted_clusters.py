"""Laws of points on a sphere with a few centres."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.functional.noise import Noise
from latentrun.functional.spacing import middles
from latentrun.manifolds import Sphere

GRID = 20_001  # places at which a distribution function is tabled


class Clusters:
    """A mixture of ``k`` von Mises-Fisher laws of one concentration ``kappa`` and equal weight. Their centres
    are evenly spaced on the circle, from angle 0 on; on other spheres they are drawn uniformly by ``seed``.

    Points are drawn by the tabled distribution function of the angle to the centre, whose density is
    proportional to sin(angle)^(dim - 1) exp(kappa cos(angle)).
    """

    def __init__(self, sphere: Sphere, k: int, kappa: float, seed: int):
        self.sphere, self.k, self.kappa = sphere, k, kappa
        if sphere.dim == 1:
            angle = 2 * math.pi * torch.arange(k, dtype=torch.float64) / k
            self.centers = torch.stack([angle.cos(), angle.sin()], dim=-1)
        else:
            self.centers = sphere.sample(k, Noise(seed).at("clusters")).double()
        # Beyond twelve standard deviations there is nothing.
        far = min(math.pi, 12 * math.sqrt(sphere.dim / kappa))
        self._angle = torch.linspace(0, far, GRID, dtype=torch.float64)
        density = self._angle.sin().clamp_min(0) ** (sphere.dim - 1) * (kappa * (self._angle.cos() - 1)).exp()
        self._cdf = _cumulated(density)

    def draw(self, n: int, noise: Noise) -> tuple[Tensor, Tensor]:
        """n points ``(n, dim + 1)``, float64, and the numbers ``(n,)`` of their clusters, on the CPU."""
        noise = noise.to("cpu")
        label = noise.integers("cluster", self.k, (n,))
        center = self.centers[label]
        angle = _inverse(self._cdf, self._angle, noise.uniform("angle", (n,)).double()).unsqueeze(-1)
        across = self.sphere.tangent(center, noise.normal("direction", tuple(center.shape)).double())
        return angle.cos() * center + angle.sin() * F.normalize(across, dim=-1), label

    def nearest(self, z: Tensor) -> Tensor:
        """The number ``(N,)`` of the centre nearest to each point ``z (N, dim + 1)``."""
        return (z @ self.centers.to(z).T).argmax(-1)

    def quantiles(self, n: int) -> Tensor:
        """Of the circle: n points ``(n, 2)`` in the order of their angles that cut the law into parts of
        equal probability, each in the middle of its part."""
        angle = torch.linspace(0, 2 * math.pi, GRID, dtype=torch.float64)
        places = torch.stack([angle.cos(), angle.sin()], dim=-1)
        cdf = _cumulated((self.kappa * (places @ self.centers.T - 1)).exp().sum(-1))
        shares = middles(n)
        at = _inverse(cdf, angle, shares)
        return torch.stack([at.cos(), at.sin()], dim=-1)


def _cumulated(density: Tensor) -> Tensor:
    """The distribution function on the grid of ``density (G,)``, by the trapezoidal rule."""
    cdf = torch.cat([density.new_zeros(1), ((density[1:] + density[:-1]) / 2).cumsum(0)])
    return cdf / cdf[-1]


def _inverse(cdf: Tensor, places: Tensor, shares: Tensor) -> Tensor:
    """The places ``(N,)`` at which a tabled distribution function has the values ``shares (N,)``."""
    right = torch.searchsorted(cdf, shares, right=True).clamp(1, len(cdf) - 1)
    low, high = cdf[right - 1], cdf[right]
    part = ((shares - low) / (high - low).clamp_min(torch.finfo(cdf.dtype).tiny)).clamp(0, 1)
    return places[right - 1] + part * (places[right] - places[right - 1])

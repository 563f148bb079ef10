"""Beta laws on the cube."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.base import SINGLE, Tilted
from latentrun.functional.noise import Noise
from latentrun.functional.special.quantiles import QuantileTable


class BetaCube(Tilted):
    """Independent Beta(alpha, beta) in the coordinates of [0, 1]^n, kept unimodal: alpha = 1 + peak weight,
    beta = 1 + (1 - peak) weight, with ``peak (*batch, n)``, the mode, in [0, 1] and ``weight (*batch, n)`` >=
    0, 0 being the uniform law. So neither parameter falls to where all mass is at a border.

    >>> BetaCube(torch.tensor([0.5]), torch.tensor([2.0])).log_prob(torch.tensor([0.5])).exp()  # 6 z (1 - z)
    tensor(1.5000)
    """

    log_volume = 0.0

    def __init__(self, peak: Tensor, weight: Tensor):
        self.peak, self.weight = peak, weight
        weight, peak = weight.double(), peak.double()
        self.alpha, self.beta = 1 + peak * weight, 1 + (1 - peak) * weight
        super().__init__(peak.shape[:-1], peak.shape[-1:], validate_args=False)

    @property
    def center(self) -> Tensor:
        return self.peak

    @property
    def mean(self) -> Tensor:
        """alpha / (alpha + beta)."""
        return (self.alpha / (self.alpha + self.beta)).to(self.peak.dtype)

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        """G_alpha / (G_alpha + G_beta) of two Gamma variates, from their logarithms."""
        noise, shape = noise.to(self.peak.device), tuple(torch.Size(sample_shape) + self.peak.shape)
        up, down = (
            log_gamma_draw(noise.normal(name, shape), parameter)
            for name, parameter in (("alpha", self.alpha), ("beta", self.beta))
        )
        return (up - down).sigmoid().to(self.peak.dtype)

    def log_ratio(self, value: Tensor) -> Tensor:
        return self._log_ratios(value).sum(-1)

    def _log_ratios(self, value: Tensor) -> Tensor:
        """(alpha - 1) ln z + (beta - 1) ln(1 - z) - ln B(alpha, beta); on the border what it is at a distance
        of the machine's precision."""
        info = torch.finfo(value.dtype)
        low = value.double().clamp_min(info.tiny).log()
        high = (1 - value.double()).clamp_min(0.25 * info.eps).log()
        ratio = (self.alpha - 1) * low + (self.beta - 1) * high - self._log_beta()
        return ratio.to(value.dtype)

    def _log_beta(self) -> Tensor:
        return torch.lgamma(self.alpha) + torch.lgamma(self.beta) - torch.lgamma(self.alpha + self.beta)

    def kl_each(self) -> Tensor:
        """KL(Beta || uniform) of every coordinate ``(*batch, n)``: minus its entropy, (alpha - 1) psi(alpha)
        + (beta - 1) psi(beta) - (alpha + beta - 2) psi(alpha + beta) - ln B(alpha, beta)."""
        a, b = self.alpha, self.beta
        inner = (a - 1) * torch.digamma(a) + (b - 1) * torch.digamma(b) - (a + b - 2) * torch.digamma(a + b)
        return (inner - self._log_beta()).to(self.peak.dtype)

    def kl_uniform(self) -> Tensor:
        return self.kl_each().sum(-1)


def log_gamma_draw(e: Tensor, shape: Tensor) -> Tensor:
    """Logarithm of a variate of Gamma(``shape`` >= 1), rate 1, float64, from standard normal ``e``; with
    implicit reparameterisation gradients in ``shape``."""
    tau = shape.double().rsqrt()
    return tau * _table()(e, tau) - 2 * tau.log()


@cache
def _table() -> QuantileTable:
    """T = (ln G - ln shape) / tau with tau = shape^(-1/2): density proportional to exp(-(exp(tau T) - 1 - tau
    T) / tau²), at tau = 0 a standard normal."""

    def log_density(t: Tensor, tau: Tensor) -> Tensor:
        x = tau * t
        is_small = x.abs() < 1e-3
        safe = torch.where(is_small, 1, x)
        rest = (torch.expm1(safe) - safe) / safe.square()  # (exp(x) - 1 - x) / x²
        return -t.square() * torch.where(is_small, 0.5 + x / 6 + x * x / 24 + x**3 / 120, rest)

    return QuantileTable(log_density, (-400.0, 400.0))

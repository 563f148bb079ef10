"""The power spherical law."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from latentrun.distributions.axial import SPAN, Axial
from latentrun.functional.special.quantiles import QuantileTable


class PowerSpherical(Axial):
    """Density proportional to (1 + mu·x)^kappa on the unit sphere of R^d (De Cao & Aziz 2020, arXiv
    2006.04437, eq. 10): (1 + w) / 2 has the law Beta(alpha, beta), alpha = beta + kappa, beta = (d - 1) / 2.
    ``mu (*batch, d)`` unit vectors, ``kappa (*batch)`` >= 0, d >= 2.

    >>> law = PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(1.0))
    >>> law.log_prob(law.center).exp()  # (1 + w) / 4 pi
    tensor(0.1592)
    """

    @property
    def table(self) -> QuantileTable:
        return _table(self.d)

    @property
    def scale(self) -> float:
        return self.d / 2

    @property
    def mean(self) -> Tensor:
        """E[x] = kappa / (kappa + d - 1) mu ``(*batch, d)``, no point of the sphere (eq. 15)."""
        return (self.kappa / (self.kappa + self.d - 1)).unsqueeze(-1) * self.mu

    def _log_constant(self) -> Tensor:
        """ln B(beta, beta) - ln B(alpha, beta), float64."""
        beta = torch.full_like(self.kappa, (self.d - 1) / 2, dtype=torch.float64)
        alpha = beta + self.kappa.double()
        return torch.lgamma(beta) - torch.lgamma(2 * beta) - torch.lgamma(alpha) + torch.lgamma(alpha + beta)

    def log_ratio(self, value: Tensor) -> Tensor:
        """kappa ln((1 + w) / 2) + ln B(beta, beta) - ln B(alpha, beta); at -mu, where the density is 0, what
        it is at a distance of the machine's precision."""
        y, rest = self.height(value)
        is_near = y < 0.5
        near = torch.log1p(-torch.where(is_near, y, 0))
        far = torch.where(is_near, 1, rest).clamp_min(torch.finfo(rest.dtype).eps ** 2).log()
        return self.kappa * torch.where(is_near, near, far) + self._log_constant().to(self.mu.dtype)

    def kl_uniform(self) -> Tensor:
        """kappa (psi(alpha) - psi(alpha + beta)) + ln B(beta, beta) - ln B(alpha, beta) (eq. 19)."""
        beta, kappa = (self.d - 1) / 2, self.kappa.double()
        mean_log = torch.digamma(kappa + beta) - torch.digamma(kappa + 2 * beta)
        return (kappa * mean_log + self._log_constant()).to(self.mu.dtype)


@cache
def _table(d: int) -> QuantileTable:
    """With r = 1 - tau, kappa = (d / 2) tau / r and the odds o = exp(T): y = r o / (1 + r o), whose density
    is proportional to y^(beta - 1) (1 - y)^(alpha - 1); at tau = 1 it is that of a Gamma law."""
    beta = (d - 1) / 2

    def log_density(t: Tensor, tau: Tensor) -> Tensor:
        odds, r = t.exp(), 1 - tau
        scaled = r * odds
        # kappa ln(1 + r o) = (d / 2) tau ln(1 + r o) / r
        is_small = scaled < 1e-8
        power = torch.where(
            is_small, odds * (1 - 0.5 * scaled), torch.log1p(scaled) / torch.where(r > 0, r, 1)
        )
        return beta * t - 2 * beta * torch.log1p(scaled) - 0.5 * d * tau * power

    return QuantileTable(log_density, SPAN)

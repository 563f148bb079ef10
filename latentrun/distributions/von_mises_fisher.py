"""The von Mises-Fisher law."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from latentrun.distributions.axial import SPAN, Axial
from latentrun.functional.special.bessel import log_tilt, mean_length, tilt_divergence
from latentrun.functional.special.quantiles import QuantileTable


class VonMisesFisher(Axial):
    """Density proportional to exp(kappa mu·x) on the unit sphere of R^d (Mardia & Jupp 2000, 9.3.2; Davidson
    et al. 2018, arXiv 1804.00891). ``mu (*batch, d)`` unit vectors, ``kappa (*batch)`` >= 0, d >= 2.

    >>> law = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(2.0))
    >>> law.log_prob(law.center)  # ln(kappa / (2 pi (1 - exp(-2 kappa))))
    tensor(-1.1262)
    """

    @property
    def table(self) -> QuantileTable:
        return _table(self.d)

    @property
    def scale(self) -> float:
        return self.d

    @property
    def mean(self) -> Tensor:
        """E[x] = A_d(kappa) mu ``(*batch, d)``, no point of the sphere."""
        return mean_length(self.kappa, self.d).to(self.mu.dtype).unsqueeze(-1) * self.mu

    def log_ratio(self, value: Tensor) -> Tensor:
        """kappa w - ln M_d(kappa), with w = 1 - |x - mu|² / 2."""
        kappa = self.kappa.double()
        top = (kappa - log_tilt(kappa, self.d)).to(self.mu.dtype)
        return top - 2 * self.kappa * self.height(value)[0]

    def kl_uniform(self) -> Tensor:
        """kappa A_d(kappa) - ln M_d(kappa)."""
        return tilt_divergence(self.kappa, self.d).to(self.mu.dtype)


@cache
def _table(d: int) -> QuantileTable:
    """With r = 1 - tau, kappa = d tau / r and the odds o = exp(T): y = r o / (1 + r o), whose density is
    proportional to (y (1 - y))^((d - 3) / 2) exp(-2 kappa y); at tau = 1 it is that of a Gamma law."""
    a = (d - 1) / 2

    def log_density(t: Tensor, tau: Tensor) -> Tensor:
        odds = t.exp()
        scaled = (1 - tau) * odds
        return a * t - 2 * a * torch.log1p(scaled) - 2 * d * tau * odds / (1 + scaled)

    return QuantileTable(log_density, SPAN)

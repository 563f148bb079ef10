"""What laws on a sphere have in common that are symmetric about a direction.

The sphere is that of the unit vectors of R^d, its own dimension m = d - 1. With w = mu·x in [-1, 1], the
direction across mu is uniform and independent of w, whose law is a tilt of (1 - w²)^((d - 3) / 2). Written
with y = (1 - w) / 2 and its logit: w = -tanh(logit / 2), sqrt(1 - w²) = 1 / cosh(logit / 2), so that neither
pole loses digits and every gradient is finite.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.types import _size

from latentrun.distributions.base import SINGLE, Tilted
from latentrun.functional.noise import Noise
from latentrun.functional.special.quantiles import QuantileTable
from latentrun.manifolds import Sphere

SPAN = (-400.0, 400.0)  # of the logits of y, scaled: no density of a table leaves it


class Axial(Tilted):
    """Symmetric about the unit vectors ``mu (*batch, d)``, with a concentration ``kappa (*batch)`` >= 0, 0
    being the uniform law. Draws come from the quantile function of w: exact to 1e-7 in distribution, one for
    each row's own noise, with implicit reparameterisation gradients."""

    def __init__(self, mu: Tensor, kappa: Tensor):
        self.mu, self.kappa, self.d = mu, kappa, mu.shape[-1]
        self.log_volume = Sphere(self.d - 1).log_volume
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    # ---------------------------------------------------------------- what differs
    @property
    @abstractmethod
    def table(self) -> QuantileTable:
        """logit y + ln(1 + kappa / scale) as a function of a normal number and kappa / (kappa + scale)."""

    @property
    @abstractmethod
    def scale(self) -> float:
        """The kappa at which the law begins to be a concentrated one."""

    # ---------------------------------------------------------------- what does not
    @property
    def center(self) -> Tensor:
        return self.mu

    def logit(self, e: Tensor) -> Tensor:
        """Of y = (1 - w) / 2, float64, from standard normal numbers ``e (*sample_shape, *batch)``."""
        kappa = self.kappa.double()
        return self.table(e, kappa / (kappa + self.scale)) - torch.log1p(kappa / self.scale)

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        noise, shape = noise.to(self.mu.device), self._extended_shape(torch.Size(sample_shape))
        half = 0.5 * self.logit(noise.normal("along", shape[:-1]))
        w, radius = (-half.tanh()).to(self.mu.dtype), half.cosh().reciprocal().to(self.mu.dtype)
        aside = noise.normal("across", (*shape[:-1], self.d - 1)).to(self.mu.dtype)
        if self.d == 2:
            aside = torch.where(aside < 0, -radius.unsqueeze(-1), radius.unsqueeze(-1))
        else:
            aside = aside * (radius / aside.norm(dim=-1)).unsqueeze(-1)
        return turned(torch.cat([w.unsqueeze(-1), aside], -1), self.mu)

    def height(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """y = (1 - w) / 2 and 1 - y ``(*sample_shape, *batch)`` of points, from chords, which keep their
        digits near the poles."""
        return (value - self.mu).square().sum(-1) / 4, (value + self.mu).square().sum(-1) / 4


def turned(x: Tensor, mu: Tensor) -> Tensor:
    """Points ``x (..., d)`` seen from the first axis, as seen from ``mu (..., d)``: an isometry that takes
    the first axis to mu.

    With s the sign of mu_1, the reflection along mu + s e_1 takes e_1 to -s mu; the isometry is -s times it.
    The vector is never shorter than sqrt(2), so that no mu, +-e_1 included, is a special case (Golub & Van
    Loan, Matrix Computations, 5.1.3). The isometry jumps where mu_1 changes its sign, the law of what is
    uniform about the axis does not; for every mu its derivative is bounded.

    >>> turned(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    first = mu[..., :1].detach()
    sign = torch.where(first < 0, -torch.ones_like(first), torch.ones_like(first))
    u = torch.cat([mu[..., :1] + sign, mu[..., 1:]], -1)
    share = (x * u).sum(-1, keepdim=True) * (sign / (1 + sign * mu[..., :1]))  # |u|² = 2 (1 + |mu_1|)
    return torch.addcmul(-sign * x, u, share)

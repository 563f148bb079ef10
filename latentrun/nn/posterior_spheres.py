"""Families of q(z|x) on spheres that are symmetric about a direction, against the uniform prior. All take d +
1 numbers of the encoder: a vector whose direction is mu, and one for the concentration, kappa = floor +
softplus(h), the latter bounded by where the law is 1e-5 wide, as narrow as float32 can weigh its points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from torch import Tensor

from latentrun.config.bounds import Gt
from latentrun.distributions.base import Law
from latentrun.distributions.power_spherical import PowerSpherical
from latentrun.distributions.spherical_cauchy import SphericalCauchy
from latentrun.distributions.von_mises_fisher import VonMisesFisher
from latentrun.manifolds import Manifold
from latentrun.manifolds.angles import direction
from latentrun.nn.posterior import LawPosterior, positive, require_family


class SphericalPosterior(LawPosterior):
    """One law for each direction and concentration: ``mu (N, d)``, ``kappa (N,)`` > ``floor``."""

    family: ClassVar[str]  # its name in conf/posterior
    make: ClassVar[Callable[[Tensor, Tensor], Law]]
    most: ClassVar[float] = 1e10  # of kappa, of a law that is 1 / sqrt(kappa) wide

    def __init__(self, space: Manifold, floor: Annotated[float, Gt(0)]):
        require_family(space, self.family)
        super().__init__(space)
        self.floor, self.features = floor, space.ambient_dim + 1

    def law(self, h: Tensor) -> tuple[Law, dict[str, Tensor]]:
        mu, kappa = direction(h[..., :-1]), positive(h[..., -1], self.floor, self.most)
        return type(self).make(mu, kappa), {"mu": mu, "kappa": kappa}


class VonMisesFisherPosterior(SphericalPosterior):
    """Density proportional to exp(kappa mu·z) (Davidson et al. 2018, arXiv 1804.00891)."""

    family, make = "vmf", VonMisesFisher


class PowerSphericalPosterior(SphericalPosterior):
    """Density proportional to (1 + mu·z)^kappa (De Cao & Aziz 2020, arXiv 2006.04437)."""

    family, make = "power_spherical", PowerSpherical


class SphericalCauchyPosterior(SphericalPosterior):
    """Density proportional to |z - rho mu|^(-2 (d - 1)), rho = kappa / (1 + kappa) (arXiv 2506.21278)."""

    family, make = "spherical_cauchy", SphericalCauchy
    most = 1e5  # it is 1 / kappa wide

"""What turns an encoder's numbers into q(z|x) on a latent space, and the prior p(z) it is held against. A
class here, or a user's own, is chosen by ``model.posterior``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F

from latentrun.distributions.base import Draws, Law, Uniform, pair_draws
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import GRIDS, lattice
from latentrun.manifolds import Charted, Compact, Manifold
from latentrun.types import Phase

if TYPE_CHECKING:
    from latentrun.data.base import Dataset


class Coding(ABC):
    """q(z|x) of N examples on one latent space of d coordinates."""

    @property
    @abstractmethod
    def center(self) -> Tensor:
        """The points ``(N, d)`` of the space that stand for the examples."""

    @abstractmethod
    def parameters(self) -> dict[str, Tensor]:
        """The named tensors ``(N, ...)`` that fix it."""

    @abstractmethod
    def draw(self, noise: Noise) -> Tensor:
        """One point ``(N, d)`` from each, with gradients."""

    def outcomes(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """Every combination of points of finite factors, with one draw of the others: ``z (M, N, d)``, or
        ``(M, 1, d)`` where nothing is drawn, and their probabilities ``q (M, N)``. Means over them have no
        noise of the finite factors. One draw with q = 1 unless overridden."""
        z = self.draw(noise).unsqueeze(0)
        return z, torch.ones_like(z[..., 0])

    @abstractmethod
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)) in nats: ``(N, d)`` where both factorise over coordinates, else ``(N,)``."""

    @abstractmethod
    def draws(self, n: int, noise: Noise) -> Draws:
        """n draws of each, with their weights."""


class Posterior(nn.Module, ABC):
    """A family of q(z|x) on one latent space, and its prior.

    A model makes it with ``space``; everything else comes from the configuration; InputError, from the
    constructor, for a space that the family cannot have. ``features``: how many numbers of the encoder it
    takes.
    """

    space: Manifold
    features: int

    def code(self, h: Tensor) -> Coding:
        """q(z|x) from the encoder's numbers ``(N, features)``, whatever they are: kept within
        ``FARTHEST``."""
        return self.coding(bounded(h, FARTHEST))

    @abstractmethod
    def coding(self, h: Tensor) -> Coding:
        """q(z|x) from numbers ``(N, features)`` whose squares are finite."""

    @abstractmethod
    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        """n points ``(n, d)`` of the prior."""

    def prior_at(self, u: Tensor) -> Tensor | None:
        """The points ``(n, d)`` at ``u (n, m)`` of a map that takes the uniform law of [0, 1]^m, m the
        dimension of the space, to the prior; None where no such map is known."""
        del u
        return None

    def prior_grid(self, n: int) -> Tensor | None:
        """n points ``(n, d)`` that stand for equal shares of the prior, those of a curve in its order; None
        where none are known, or in more than ``GRIDS`` dimensions. Averages over them are integrals over the
        prior."""
        return self.prior_at(lattice(n, self.space.dim)) if 0 < self.space.dim <= GRIDS else None

    def phases(self) -> tuple[Phase, ...]:
        """What must be trained before the model itself; nothing unless overridden."""
        return ()

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        """What a reader of its numbers must know, in plain sentences."""
        del data
        return ()


class LawCoding(Coding):
    """One law of a batch ``(N,)`` against a prior, both with a density."""

    def __init__(self, law: Law, prior: Distribution, parameters: dict[str, Tensor]):
        self.law, self.prior, self._parameters = law, prior, parameters

    @property
    def center(self) -> Tensor:
        return self.law.center

    def parameters(self) -> dict[str, Tensor]:
        return self._parameters

    def draw(self, noise: Noise) -> Tensor:
        return self.law.draw(noise)

    def kl(self) -> Tensor:
        return kl_divergence(self.law, self.prior)

    def draws(self, n: int, noise: Noise) -> Draws:
        return pair_draws(self.law, self.prior, noise, n)


class LawPosterior(Posterior):
    """A family of laws against the uniform law of a space of finite volume. Subclasses make the law and its
    named parameters."""

    def __init__(self, space: Manifold):
        super().__init__()
        assert isinstance(space, Compact)
        self.space, self.prior = space, Uniform(space)
        self.register_buffer("_origin", torch.zeros(()), persistent=False)

    @abstractmethod
    def law(self, h: Tensor) -> tuple[Law, dict[str, Tensor]]:
        """q(z|x) from numbers ``(N, features)`` whose squares are finite, and the tensors that fix it."""

    def coding(self, h: Tensor) -> Coding:
        law, parameters = self.law(h)
        return LawCoding(law, self.prior, parameters)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return cast(Compact, self.space).sample(n, noise)

    def prior_at(self, u: Tensor) -> Tensor | None:
        return self.space.embed(u).to(self._origin) if isinstance(self.space, Charted) else None


# ---------------------------------------------------------------- encoder numbers to parameters
FARTHEST = 2.0**40  # of an encoder's numbers: sums of their squares stay far within float32


def bounded(h: Tensor, most: float) -> Tensor:
    """h / (1 + |h| / most): within ``most``, with a finite gradient for every h, and h itself to the last
    digit where |h| is less than the machine's precision times ``most``.

    >>> bounded(torch.tensor([1.0, 1e12, -3e38]), 1e12)
    tensor([ 1.0000e+00,  5.0000e+11, -1.0000e+12])
    """
    return h / (1 + h.abs() / most)


def positive(h: Tensor, floor: float, most: float = FARTHEST) -> Tensor:
    """floor + softplus(h), the latter bounded by ``most``: concentrations and scales, > 0 for every h.

    >>> positive(torch.tensor([-1e4, 0.0, 1e4]), 0.001)
    tensor([1.0000e-03, 6.9415e-01, 1.0000e+04])
    """
    return floor + bounded(F.softplus(h), most)


# ---------------------------------------------------------------- which family fits which space
# By the letters that the short text of a space begins with, the families in conf/posterior; of others
# ``embedding`` alone.
FAMILIES = {
    "e": ("normal",),
    "s": ("vmf", "power_spherical", "spherical_cauchy", "wrapped_normal", "embedding"),
    "t": ("wrapped_normal", "embedding"),
    "so": ("wrapped_normal", "embedding"),
    "i": ("beta", "embedding"),
    "c": ("categorical",),
}


def kind_of(space: Manifold) -> str:
    """The letters that the short text of a space begins with; ``product`` of several spaces."""
    return "product" if "x" in space.name else space.name.rstrip("0123456789")


class Unneeded(InputError):
    """A family for spaces of every kind has nothing to do on this one, which has a law of its own: wrong only
    where nothing else gives it that one."""


def require_family(space: Manifold, family: str) -> None:
    """InputError where a family of conf/posterior is given a space that it does not know."""
    fitting = FAMILIES.get(kind_of(space), ("embedding",))
    if family not in fitting:
        raise InputError(
            f"model.posterior: {family} does not fit {space.name}, which takes {listed(fitting)}"
        )


def listed(names: Sequence[str]) -> str:
    """``a``, or ``a, b or c``."""
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)

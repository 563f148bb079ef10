"""What turns an encoder's numbers into q(z|x) on a latent space, and the prior p(z) it is held against. A
class here, or a user's own, is chosen by ``model.posterior``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from latentrun.distributions.base import Draws, Law, pair_draws
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Manifold
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

    @abstractmethod
    def code(self, h: Tensor) -> Coding:
        """q(z|x) from the encoder's numbers ``(N, features)``."""

    @abstractmethod
    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        """n points ``(n, d)`` of the prior."""

    def prior_grid(self, n: int) -> Tensor | None:
        """n points ``(n, d)`` that cut the prior into parts of equal mass, in the order of the space; None
        unless the space is one-dimensional. Averages over them are integrals over the prior."""
        del n
        return None

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


def require_space(where: str, space: Manifold, kinds: type | tuple[type, ...], noun: str) -> None:
    """InputError where a family is given a space that it does not know; ``noun``: those it does."""
    if not isinstance(space, kinds):
        raise InputError(f"{where}: lives on {noun}; {space.name} is none")

"""What every model offers, and the capabilities a finished model may have. A capability is a class it inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from latentrun.data.base import Dataset
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean, Manifold
from latentrun.types import Phase


class Model(nn.Module, ABC):
    """A decoder from latent spaces to data, and the phases that train it.

    Attributes: ``event_shape`` of one example; ``latent_dim`` d; ``spaces``: the latent spaces by name, ``z`` always,
    Euclidean unless the model says otherwise.
    """

    event_shape: tuple[int, ...]
    latent_dim: int
    spaces: dict[str, Manifold]

    def __init__(self, event_shape: tuple[int, ...], latent_dim: int):
        super().__init__()
        self.event_shape, self.latent_dim = tuple(event_shape), latent_dim
        self.spaces = {"z": Euclidean(latent_dim)}

    @abstractmethod
    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        """The mean of p(x|z): ``(N, d)`` to ``(N, *event_shape)``."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """How the model is trained, in order."""

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        """What a reader of this model's numbers on these data must know, in plain sentences."""
        return ()


class HasEncoder(ABC):
    """Can find a code for an example."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """``(N, *event_shape)`` to codes ``(N, d)``; for a posterior, its mean."""


class HasPosterior(HasEncoder):
    """Has a distribution q(z|x)."""

    @abstractmethod
    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) for each row of ``x``; batch shape ``(N,)``, event shape ``(d,)``."""


class HasGaussianPosterior(HasPosterior):
    """q(z|x) is a diagonal normal: ``posterior(x)`` has ``mean`` and ``stddev (N, d)``."""


class HasPrior(ABC):
    """Has a distribution p(z)."""

    @abstractmethod
    def prior(self) -> Distribution:
        """p(z); batch shape ``()``, event shape ``(d,)``."""

    @abstractmethod
    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        """n codes ``(n, d)`` drawn from p(z)."""


class HasLikelihood(ABC):
    """Has a distribution p(x|z)."""

    @abstractmethod
    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) for each row of ``z``; batch shape ``(N,)``, event shape ``event_shape``."""


class HasLogProb(ABC):
    """Can evaluate its density exactly."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) ``(N,)`` in nats per example."""

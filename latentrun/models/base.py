"""What every model offers, and the capabilities a finished model may have. A capability is a class it
inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from latentrun.data.base import Dataset
from latentrun.distributions.base import Draws
from latentrun.errors import InputError, Misfit, unknown
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.mixtures import covariance
from latentrun.manifolds import Compact, Euclidean, Manifold, Product
from latentrun.nn.base import Network
from latentrun.nn.likelihood import Likelihood
from latentrun.types import Batch, Clock, Column, Phase

RENORMALISED = "_renormalised"  # ending of the name of a sampler whose codes were given other moments


class Model(nn.Module, ABC):
    """A decoder from latent spaces to data, and the phases that train it.

    Attributes: ``event_shape`` of one example; ``spaces``: the latent spaces by name, ``z`` always; a model
    of several stages has others beside it. ``latent_dim`` d: the number of coordinates of a code in ``z``.
    ``differentiable``: whether ``decode`` has derivatives with respect to z.
    """

    event_shape: tuple[int, ...]
    spaces: dict[str, Manifold]
    differentiable: ClassVar[bool] = True

    def __init__(self, event_shape: Sequence[int], spaces: Mapping[str, Manifold]):
        super().__init__()
        self.event_shape, self.spaces = tuple(event_shape), dict(spaces)
        self.space("z")

    @property
    def latent_dim(self) -> int:
        """The number d of coordinates of a code; on a curved space more than its dimension."""
        return self.spaces["z"].ambient_dim

    def space(self, name: str) -> Manifold:
        """The latent space of that name; InputError where the model has none."""
        if name not in self.spaces:
            raise unknown(f"latent space of {type(self).__name__}", name, self.spaces)
        return self.spaces[name]

    @abstractmethod
    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        """The mean of p(x|z): points of a latent space ``(N, d)`` to ``(N, *event_shape)``; InputError for an
        unknown space."""

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        """The mean of p(x|z) at codes ``(N, d)`` and, where it changes with z, its standard deviation, each
        ``(N, *event_shape)``: the map whose metric measures how far apart two codes are in data space."""
        return (self.decode(z),)

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """How the model is trained, in order; none where there is nothing to train."""

    def check_rows(self, data: Dataset) -> None:
        """Hold settings against the number of rows, which are read, before anything trains: InputError where
        one asks for more than there are."""
        del data  # any number will do

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        """What a reader of this model's numbers on these data must know, in plain sentences."""
        return ()


# ---------------------------------------------------------------- from data to codes
class HasEncoder(ABC):
    """Can find a code for an example."""

    @abstractmethod
    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        """``(N, *event_shape)`` to the points ``(N, d)`` of a latent space that stand for them: of a
        posterior its mean, or where that leaves the space the point of it that the law is centred on.
        InputError for an unknown space."""


@dataclass(frozen=True)
class PosteriorTraining:
    """What training made of q(z|x), for those who read it: whether z was ``sampled`` (else nothing but the
    KL taught its spread), which part of the ``kl`` the loss charged, and ``beta`` times."""

    sampled: bool
    kl: Literal["full", "quadratic", "none"]
    beta: float


class HasPosterior(HasEncoder):
    """Has a distribution q(z|x)."""

    @property
    @abstractmethod
    def posterior_training(self) -> PosteriorTraining:
        """What training made of it."""

    @abstractmethod
    def posterior_parameters(self, x: Tensor) -> dict[str, Tensor]:
        """The named tensors ``(N, ...)`` that fix q(z|x) for each row of ``x``."""

    @abstractmethod
    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """One draw ``(N, d)`` from each q(z|x), a point of ``z``."""

    @abstractmethod
    def kl(self, x: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) in nats: of each variable ``(N, d)`` where both factorise, else ``(N,)``."""


class HasGaussianPosterior(HasPosterior):
    """q(z|x) is a diagonal normal: ``posterior(x)`` has ``mean`` and ``stddev (N, d)``."""

    @abstractmethod
    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) for each row of ``x``; batch shape ``(N,)``, event shape ``(d,)``."""

    def posterior_parameters(self, x: Tensor) -> dict[str, Tensor]:
        """``mean`` and standard deviation ``scale``, each ``(N, d)``."""
        q = self.posterior(x)
        return {"mean": q.mean, "scale": q.stddev}

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        q = self.posterior(x)
        return q.mean + q.stddev * noise.normal("z", tuple(q.mean.shape))

    def kl(self, x: Tensor) -> Tensor:
        """KL(q(z_i|x) || N(0, 1)) ``(N, d)`` in nats; a model with another prior overrides it."""
        q = self.posterior(x)
        return gaussian_kl(q.mean, q.stddev.log())


# ---------------------------------------------------------------- from codes to data
class HasGenerator(ABC):
    """Can draw the codes that its samples are decoded from."""

    @property
    def origin(self) -> str:
        """Where they come from, in words."""
        return "codes drawn from the model's prior"

    @abstractmethod
    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        """n codes ``(n, d)``; a VAE's are drawn from p(z)."""


class HasPrior(HasGenerator):
    """Has a distribution p(z) with a density, from which :meth:`sample_prior` draws."""

    @abstractmethod
    def prior(self) -> Distribution:
        """p(z); batch shape ``()``, event shape ``(d,)``."""


def is_standard_normal(law: Distribution) -> bool:
    """Whether a prior is N(0, I)."""
    law = law.base_dist if isinstance(law, Independent) else law
    return isinstance(law, Normal) and bool((law.loc == 0).all() and (law.scale == 1).all())


class HasSamplers(HasGenerator):
    """Knows several ways to draw codes."""

    @abstractmethod
    def samplers(self) -> Mapping[str, Callable[[int, Noise], Tensor]]:
        """By name, functions like :meth:`sample_prior`, which is one of them. Where a name comes again with
        the ending ``RENORMALISED``, the second gives the codes of the first with other moments, drawn from
        equal noise."""


class HasLikelihood(ABC):
    """Has a distribution p(x|z)."""

    @abstractmethod
    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) for each row of ``z``; batch shape ``(N,)``, event shape ``event_shape``."""


class Headed(Model, HasLikelihood):
    """Decodes by a network ``decoder`` and the ``head`` of a likelihood that reads what it gives: p(x|z), see
    :mod:`latentrun.nn.likelihood`."""

    decoder: nn.Module
    head: Likelihood

    def decode_by(
        self, network: Network, likelihood: Any, value_range: tuple[float, float], columns: Sequence[Column]
    ) -> None:
        """Make both, from the codes of ``z`` to the data; ``likelihood``: its recipe."""
        self.decoder = network.decoder(self.latent_dim, self.event_shape)
        self.head = likelihood(
            event_shape=self.event_shape,
            value_range=value_range,
            columns=columns,
            latent_dim=self.latent_dim,
            network=network,
        )

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.head.mean(z, self.decoder(z))

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        return self.head.moments(z, self.decoder(z))

    def likelihood(self, z: Tensor) -> Distribution:
        return self.head.distribution(z, self.decoder(z))


class HasLogProb(ABC):
    """Can evaluate its density exactly."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) ``(N,)`` in nats per example."""


class HasLevels(HasLogProb):
    """Its density is one of data on evenly spaced levels with uniform noise of one ``step`` of them on every
    value: the probability of an example is the integral over its cell, and by Jensen's inequality E log p(x +
    noise) + D log step at most its logarithm (Theis et al. 2016, arXiv 1511.01844, section 3.1)."""

    @property
    @abstractmethod
    def step(self) -> float | None:
        """Between two levels, in units of the data; None for data with a density of their own."""

    @abstractmethod
    def dequantised(self, x: Tensor, noise: Noise) -> Tensor:
        """Examples ``(N, *event_shape)`` with that noise, of mean 0; themselves where there is no step."""


class HasEvidence(HasPosterior, HasLikelihood):
    """Can weigh draws from q(z|x) against its prior, so that log p(x) can be bounded from below."""

    @abstractmethod
    def draws(self, x: Tensor, n: int, noise: Noise) -> Draws:
        """n draws from each q(z|x) with their weights, see :class:`~latentrun.distributions.base.Draws`; no
        two of the n alike."""


class HasPriorGrid(HasGenerator):
    """Can cut its prior into parts of equal mass where the latent space has few dimensions, so that p(x) is a
    sum over them."""

    @abstractmethod
    def prior_grid(self, n: int) -> Tensor | None:
        """n points ``(n, d)``, or the next number that can be had, that stand for equal shares of the prior,
        in one dimension in the order of the space; all points of a finite space, whatever n is; None where
        the space has more dimensions than it can cut."""


class HasEmbedding(ABC):
    """Its latent space, or factors of it, are images of hidden variables under maps psi."""

    @abstractmethod
    def embedding_quality(self, n: int, noise: Noise) -> Mapping[str, Mapping[str, float]]:
        """How good each psi is at n hidden variables: by the name of the space it leads to, the numbers of
        :class:`~latentrun.functional.embedding_quality.EmbeddingQuality` by name, and of a learned one how
        often it was learned anew and whether it is good; empty where there is no psi."""


# ---------------------------------------------------------------- while it trains
Change = Callable[
    [Tensor, Noise], Tensor
]  # codes (B, d) as they were drawn, to codes as the decoder gets them


def unchanged(z: Tensor, noise: Noise) -> Tensor:
    """The change that is none."""
    return z


class HasChangeableCodes(ABC):
    """Can evaluate its loss with codes that were changed between drawing and decoding."""

    @abstractmethod
    def loss(self, batch: Batch, noise: Noise, clock: Clock, change: Change = unchanged) -> dict[str, Tensor]:
        """The terms of its loss, see :class:`~latentrun.types.Objective`."""

    @abstractmethod
    def monitor(self, batch: Batch, noise: Noise, change: Change = unchanged) -> dict[str, Tensor]:
        """The monitor of its phase; ``reconstruction`` among the terms, in nats per example ``(B,)``."""

    @abstractmethod
    def charged_kl(self, x: Tensor) -> Tensor:
        """What the loss charges each latent variable for, ``(N, d)`` in nats."""


def parameters_beside(model: nn.Module, phases: Sequence[Phase]) -> list[nn.Parameter]:
    """The parameters of a model that move in none of these phases, which come before or after its own."""
    moved = {id(p) for phase in phases for each in phase.objectives for p in each.parameters}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in moved]


def drawn(batch: Batch, noise: Noise) -> Tensor:
    """The examples of a batch ``(B, ...)``; of one that stands for normals, one draw from each."""
    if batch.scale is None:
        return batch.x
    return batch.x + batch.scale * noise.normal("code", tuple(batch.x.shape))


def moments(batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean ``(d,)`` and covariance ``(d, d)``, float64, of vectors ``(N, d)``, or of the equal mixture of the
    normals that a batch stands for: by the law of total variance cov mean + diag(mean of scale²)."""
    scale = torch.zeros_like(batch.x) if batch.scale is None else batch.scale
    return batch.x.double().mean(0), covariance(batch.x, scale)


def vector_size(name: str, event_shape: Sequence[int], of_pictures: str | None = None) -> int:
    """The length d of the examples; Misfit where they are no vectors, which names the model ``of_pictures``
    that does the same for these."""
    if len(event_shape) != 1:
        advice = f": use model={of_pictures}" if of_pictures and len(event_shape) == 3 else ""
        raise Misfit(f"model {name} needs vectors; the data have shape {tuple(event_shape)}{advice}")
    return event_shape[0]


def prior_points(latent: Manifold, n: int, noise: Noise) -> Tensor:
    """n points ``(n, d)`` of the standard prior of a space: uniform by volume where that is finite, else N(0,
    I); of a product each factor's. InputError for a space that has none."""
    if isinstance(latent, Product):
        factors = enumerate(latent.factors)
        return torch.cat([prior_points(factor, n, noise.at(i)) for i, factor in factors], -1)
    if isinstance(latent, Compact):
        return latent.sample(n, noise)
    if isinstance(latent, Euclidean):
        return noise.normal("prior", (n, latent.dim))
    raise InputError(f"model.latent: {latent.name} has no standard prior")


def require_room(latent: Manifold, event_shape: Sequence[int]) -> None:
    """Misfit where a latent space has more dimensions than the data."""
    size = prod(event_shape)
    if latent.dim > size:
        raise Misfit(
            f"model.latent: {latent.name} has {latent.dim:,} dimensions, more than the data, with {size:,}"
        )

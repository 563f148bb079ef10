"""The variational autoencoder whose latent variables live on any space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from torch import Tensor

from latentrun.callbacks import AfterStep
from latentrun.config.bounds import Count, Ge, Gt, Makes
from latentrun.data.base import Dataset
from latentrun.distributions.base import Draws
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.schedules import weight_schedule
from latentrun.manifolds import Finite, Manifold, space
from latentrun.models.base import (
    HasEmbedding,
    HasEvidence,
    HasPriorGrid,
    Headed,
    PosteriorTraining,
    parameters_beside,
    require_room,
)
from latentrun.nn.base import Network
from latentrun.nn.embedding import Embedding
from latentrun.nn.likelihood import Coder, LikelihoodRecipe
from latentrun.nn.posterior import Coding, Posterior
from latentrun.nn.posterior_product import factors_of, posterior_of
from latentrun.types import Batch, Clock, Column, Objective, Phase

MOST = 1000  # combinations of points that are added up: each costs a decoded batch


def require_outcomes(space: Manifold) -> None:
    """InputError where a space has no finite factors, or more combinations of their points than ``MOST``."""
    sizes = [factor.ambient_dim for factor in factors_of(space) if isinstance(factor, Finite)]
    if not sizes:
        raise InputError(
            f"model.enumeration: {space.name} has no finite set, such as c5, whose points can be added up"
        )
    if (several := math.prod(sizes)) > MOST:
        raise InputError(
            f"model.enumeration: {space.name} has {several:,} combinations of points, at most {MOST:,} are "
            "added up"
        )


class ManifoldVAE(Headed, HasEvidence, HasPriorGrid, HasEmbedding):
    """Minimises E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || p(z)), in nats per example, for z on any space.

    ``latent``: the space by its short text, such as ``s2`` or ``t1xe2``; the decoder sees its points by their
    coordinates. ``posterior``: the family of q(z|x) on it and the prior p(z), see
    :mod:`latentrun.nn.posterior`; of a product each factor's. What it has to learn first, as an embedding of
    the space, is learned in phases before.

    A finite set is decoded as its one-hot points, with the gradient of Gumbel-softmax at ``temperature``;
    ``enumeration`` takes the exact sum over its points in place of a draw, in a product for one draw of the
    other factors.
    ``warmup_epochs``, ``beta_start``, ``cycles``, ``cycle_epochs``: as of the VAE. ``likelihood``: p(x|z),
    see :mod:`latentrun.nn.likelihood`.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent: str,
        beta: Annotated[float, Ge(0)],
        beta_start: Annotated[float, Ge(0)],
        warmup_epochs: Annotated[float, Ge(0)],
        cycle_epochs: Annotated[float, Gt(0)] | None,
        cycles: Annotated[int, Count(1, 10_000)],
        posterior: Annotated[Any, Makes(Posterior, ("space", "temperature"))],
        temperature: Annotated[float, Gt(0)],
        enumeration: bool,
        likelihood: LikelihoodRecipe,
    ):
        super().__init__(event_shape, {"z": space(latent, "model.latent")})
        require_room(self.spaces["z"], self.event_shape)
        self.beta = beta
        self.schedules = weight_schedule(beta, beta_start, warmup_epochs, cycle_epochs, cycles)
        family = partial(posterior, temperature=temperature)
        self.posterior = posterior_of(self.spaces["z"], family, temperature)
        self.enumeration = enumeration
        if enumeration:
            require_outcomes(self.spaces["z"])
        self.encoder = network.encoder(self.event_shape, self.posterior.features)
        self.decode_by(network, likelihood, value_range, columns)

    # ---------------------------------------------------------------- what the finished model can do
    def code(self, x: Tensor) -> Coding:
        """q(z|x) of a batch."""
        return self.posterior.code(self.encoder(x))

    @property
    def posterior_training(self) -> PosteriorTraining:
        return PosteriorTraining(True, "full", self.beta)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.code(x).center

    def posterior_parameters(self, x: Tensor) -> dict[str, Tensor]:
        return self.code(x).parameters()

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        return self.code(x).draw(noise)

    def draws(self, x: Tensor, n: int, noise: Noise) -> Draws:
        return self.code(x).draws(n, noise)

    def kl(self, x: Tensor) -> Tensor:
        return self.code(x).kl()

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return self.posterior.sample_prior(n, noise)

    def prior_grid(self, n: int) -> Tensor | None:
        return self.posterior.prior_grid(n)

    def embedding_quality(self, n: int, noise: Noise) -> Mapping[str, Mapping[str, float]]:
        families = [each for each in self.posterior.modules() if isinstance(each, Embedding)]
        names = [family.space.name for family in families]
        return {
            name if names.count(name) == 1 else f"{name}_{i}": family.quality(n, noise.at(i))
            for i, (name, family) in enumerate(zip(names, families, strict=True), 1)
        }

    # ---------------------------------------------------------------- how it is trained
    def _kl(self, coding: Coding) -> Tensor:
        """``(B,)`` in nats."""
        kl = coding.kl()
        return kl.sum(1) if kl.ndim > 1 else kl

    def _terms(self, coding: Coding, x: Tensor, noise: Noise) -> dict[str, Tensor]:
        """The likelihood's terms ``(B,)`` of a draw, or their means over all points of finite factors."""
        if not self.enumeration:
            z = coding.draw(noise)
            return self.head.terms(z, self.decoder(z), x)
        z, q = coding.outcomes(noise)
        m, n = q.shape
        out = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        z, out = (values.expand(m, n, *values.shape[2:]).flatten(0, 1) for values in (z, out))
        every = self.head.terms(z, out, x.repeat(m, *[1] * (x.ndim - 1)))
        return {name: (q * values.view(m, n)).sum(0) for name, values in every.items()}

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Mean over the batch of ``reconstruction`` = -log p(x|z) + beta ``kl``, in nats per example; ``mse``
        per data dimension (and what else the likelihood has to say)."""
        coding = self.code(batch.x)
        terms = {name: values.mean() for name, values in self._terms(coding, batch.x, noise).items()}
        kl = self._kl(coding).mean()
        loss = terms["reconstruction"] + clock.values.get("beta", self.beta) * kl
        return {"loss": loss, "reconstruction": terms["reconstruction"], "kl": kl} | terms

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Full negative ELBO at beta = 1 and its terms, per example ``(B,)``."""
        coding = self.code(batch.x)
        terms, kl = self._terms(coding, batch.x, noise), self._kl(coding)
        reconstruction = terms["reconstruction"]
        return {"monitor": reconstruction + kl, "reconstruction": reconstruction, "kl": kl} | terms

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return (*self.head.caveats(data), *self.posterior.caveats(data))

    def phases(self) -> tuple[Phase, ...]:
        before = self.posterior.phases()
        after = self.head.phases(Coder(self.encode, self.draw, self.decoder))
        own = parameters_beside(self, (*before, *after))
        return (
            *before,
            Phase(
                "vae",
                (Objective("elbo", own, self.loss),),
                monitor=self.monitor,
                schedules=self.schedules,
                callbacks=(AfterStep(self.head.observe),),
            ),
            *after,
        )

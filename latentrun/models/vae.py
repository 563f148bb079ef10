"""The variational autoencoder with a diagonal Gaussian posterior."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.callbacks import AfterStep
from latentrun.config.bounds import Count, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.distributions.base import Draws
from latentrun.errors import InputError
from latentrun.functional.distances.divergences import gaussian_kl, quadratic_penalty
from latentrun.functional.noise import Noise
from latentrun.functional.schedules import weight_schedule
from latentrun.functional.spacing import GRIDS, lattice
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    Change,
    HasChangeableCodes,
    HasEvidence,
    HasGaussianPosterior,
    HasPrior,
    HasPriorGrid,
    Headed,
    PosteriorTraining,
    parameters_beside,
    unchanged,
)
from latentrun.nn.base import Network
from latentrun.nn.likelihood import Coder, LikelihoodRecipe
from latentrun.types import Batch, Clock, Column, Objective, Phase


class VAE(Headed, HasGaussianPosterior, HasEvidence, HasPrior, HasPriorGrid, HasChangeableCodes):
    """Minimises E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I)) (Kingma & Welling 2013, arXiv 1312.6114),
    in nats per example, summed over data dimensions and latent variables.

    ``kl``: ``full``, or only its ``quadratic`` part ½ sum mu², or ``none``. ``sample=False`` trains on z =
    mu(x): sigma then gets no gradient from the likelihood.

    ``warmup_epochs``: beta goes linearly from ``beta_start`` to ``beta``; with ``cycles`` > 1 it starts again
    every ``cycle_epochs`` epochs (Fu et al. 2019, arXiv 1903.10145). ``free_bits`` lambda: the loss charges
    each variable at least lambda nats, sum_i max(lambda, mean over the batch of KL_i), so that nothing is won
    by giving one up (Kingma et al. 2016, arXiv 1606.04934, eq. 15); ``kl`` and the monitor stay the true
    ones. ``likelihood``: p(x|z), see :mod:`latentrun.nn.likelihood`.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent_dim: Annotated[int, Count(1, 100_000)],
        beta: Annotated[float, Ge(0)],
        beta_start: Annotated[float, Ge(0)],
        warmup_epochs: Annotated[float, Ge(0)],
        cycle_epochs: Annotated[float, Gt(0)] | None,
        cycles: Annotated[int, Count(1, 10_000)],
        free_bits: Annotated[float, Ge(0)],
        kl: Literal["full", "quadratic", "none"],
        sample: bool,
        likelihood: LikelihoodRecipe,
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.charged: Literal["full", "quadratic", "none"] = kl
        if free_bits and kl != "full":
            raise InputError(f"model.free_bits: needs kl=full, got kl={kl}")
        self.beta, self.sample, self.free_bits = beta, sample, free_bits
        self.schedules = weight_schedule(beta, beta_start, warmup_epochs, cycle_epochs, cycles)
        self.encoder = network.encoder(self.event_shape, 2 * latent_dim)
        self.decode_by(network, likelihood, value_range, columns)
        self.register_buffer("_origin", torch.zeros(()), persistent=False)

    # ---------------------------------------------------------------- what the finished model can do
    @property
    def posterior_training(self) -> PosteriorTraining:
        return PosteriorTraining(self.sample, self.charged, self.beta)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x), each ``(N, d)``."""
        return self.encoder(x).chunk(2, dim=1)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.moments(x)[0]

    def posterior(self, x: Tensor) -> Distribution:
        mean, log_scale = self.moments(x)
        return Independent(Normal(mean, log_scale.exp(), validate_args=False), 1, validate_args=False)

    def kl(self, x: Tensor) -> Tensor:
        return gaussian_kl(*self.moments(x))

    def prior(self) -> Distribution:
        zero = self._origin.expand(self.latent_dim)
        return Independent(Normal(zero, zero + 1, validate_args=False), 1, validate_args=False)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.latent_dim))

    def prior_grid(self, n: int) -> Tensor | None:
        """Of few dimensions."""
        if self.latent_dim > GRIDS:
            return None
        return torch.special.ndtri(lattice(n, self.latent_dim)).to(self._origin)

    def draws(self, x: Tensor, n: int, noise: Noise) -> Draws:
        mean, log_scale = self.moments(x)
        e = noise.normal("z", (n, *mean.shape))
        z = mean + log_scale.exp() * e
        return Draws(z, (log_scale + 0.5 * (e.square() - z.square())).sum(-1))

    # ---------------------------------------------------------------- how it is trained
    def charged_kl(self, x: Tensor) -> Tensor:
        return self._charge(*self.moments(x))

    def _charge(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """What the loss charges each variable for, ``(B, d)`` in nats."""
        if self.charged == "full":
            return gaussian_kl(mean, log_scale)
        return quadratic_penalty(mean) if self.charged == "quadratic" else torch.zeros_like(mean)

    def _coded(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """z ``(B, d)`` as training draws it, and its charge ``(B, d)``."""
        mean, log_scale = self.moments(x)
        z = mean + log_scale.exp() * noise.normal("z", tuple(mean.shape)) if self.sample else mean
        return z, self._charge(mean, log_scale)

    def loss(self, batch: Batch, noise: Noise, clock: Clock, change: Change = unchanged) -> dict[str, Tensor]:
        """Mean over the batch of ``reconstruction`` = -log p(x|z) + beta ``kl``, in nats per example; ``mse``
        per data dimension (and what else the likelihood has to say)."""
        z, kl = self._coded(batch.x, noise)
        z = change(z, noise)
        terms, total = self.head.means(z, self.decoder(z), batch.x), kl.sum() / len(kl)
        charged = kl.mean(0).clamp_min(self.free_bits).sum() if self.free_bits else total
        beta = clock.values.get("beta", self.beta)
        loss = terms["reconstruction"] + beta * charged
        return {"loss": loss, "reconstruction": terms["reconstruction"], "kl": total} | terms

    def monitor(self, batch: Batch, noise: Noise, change: Change = unchanged) -> dict[str, Tensor]:
        """Full negative ELBO at beta = 1 and its terms, per example ``(B,)``; where sigma is untrained
        (``sample=False``) or unpenalised, with the part of the KL that the loss has, for the full one would
        be noise."""
        z, kl = self._coded(batch.x, noise)
        z = change(z, noise)
        terms, kl = self.head.terms(z, self.decoder(z), batch.x), kl.sum(1)
        reconstruction = terms["reconstruction"]
        return {"monitor": reconstruction + kl, "reconstruction": reconstruction, "kl": kl} | terms

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        notes = list(self.head.caveats(data))
        if not self.sample:
            notes.append("The model was trained without sampling: sigma of its posterior is untrained.")
        return tuple(notes)

    def phases(self) -> tuple[Phase, ...]:
        after = self.head.phases(Coder(self.encode, lambda x, noise: self._coded(x, noise)[0], self.decoder))
        return (
            Phase(
                "vae",
                (Objective("elbo", parameters_beside(self, after), self.loss),),
                monitor=self.monitor,
                schedules=self.schedules,
                callbacks=(AfterStep(self.head.observe),),
            ),
            *after,
        )

"""The variational autoencoder with a diagonal Gaussian posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.bounds import Ge, Gt
from latentrun.data.base import Dataset
from latentrun.errors import Misfit
from latentrun.functional.divergences import gaussian_kl, quadratic_penalty
from latentrun.functional.noise import Noise
from latentrun.functional.schedules import linear
from latentrun.models.base import HasGaussianPosterior, HasLikelihood, HasPrior, Model
from latentrun.nn.base import Network
from latentrun.nn.likelihood import BernoulliLikelihood, GaussianLikelihood, MixedLikelihood
from latentrun.types import Batch, Clock, Column, Objective, Phase


class VAE(Model, HasGaussianPosterior, HasPrior, HasLikelihood):
    """Minimises E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I)) (Kingma & Welling 2013, arXiv 1312.6114), in nats
    per example, summed over data dimensions and latent variables.

    ``kl``: ``full``, or only its ``quadratic`` part ½ sum mu², or ``none``. ``sample=False`` trains on z = mu(x): sigma
    then gets no gradient from the likelihood. ``warmup_epochs``: beta rises linearly from 0. ``likelihood``, ``scale``,
    ``balance``, ``squash``: see :mod:`latentrun.nn.likelihood`; ``auto`` is mixed for tables whose columns are not all
    real, else Gaussian.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent_dim: Annotated[int, Ge(1)],
        beta: Annotated[float, Ge(0)],
        warmup_epochs: Annotated[float, Ge(0)],
        kl: Literal["full", "quadratic", "none"],
        sample: bool,
        likelihood: Literal["auto", "gaussian", "bernoulli", "mixed"],
        scale: Annotated[float, Gt(0)],
        balance: Literal["fixed", "learned", "running_mse"],
        squash: bool,
    ):
        super().__init__(event_shape, latent_dim)
        self.beta, self.warmup_epochs, self.kl, self.sample = beta, warmup_epochs, kl, sample
        self.encoder = network.encoder(self.event_shape, 2 * latent_dim)
        self.decoder = network.decoder(latent_dim, self.event_shape)
        if likelihood == "auto":
            likelihood = "gaussian" if all(column.kind == "real" for column in columns) else "mixed"
        if likelihood == "gaussian":
            self.head = GaussianLikelihood(self.event_shape, tuple(value_range) if squash else None, scale, balance)
        elif likelihood == "mixed":
            if not columns:
                raise Misfit("model.likelihood: mixed needs the columns of a table; these data have none: use auto or gaussian")
            self.head = MixedLikelihood(columns, scale, balance)
        elif value_range[0] < 0 or value_range[1] > 1:
            raise Misfit(f"model.likelihood: bernoulli needs data in [0, 1]; these lie in {list(value_range)}: use gaussian")
        else:
            self.head = BernoulliLikelihood(self.event_shape)
        self.register_buffer("_origin", torch.zeros(()), persistent=False)

    # ---------------------------------------------------------------- what the finished model can do
    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x), each ``(N, d)``."""
        return self.encoder(x).chunk(2, dim=1)

    def encode(self, x: Tensor) -> Tensor:
        return self.moments(x)[0]

    def posterior(self, x: Tensor) -> Distribution:
        mean, log_scale = self.moments(x)
        return Independent(Normal(mean, log_scale.exp(), validate_args=False), 1, validate_args=False)

    def prior(self) -> Distribution:
        zero = self._origin.expand(self.latent_dim)
        return Independent(Normal(zero, zero + 1, validate_args=False), 1, validate_args=False)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.latent_dim))

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        return self.head.mean(self.decoder(z))

    def likelihood(self, z: Tensor) -> Distribution:
        return self.head.distribution(self.decoder(z))

    # ---------------------------------------------------------------- how it is trained
    def _terms(self, batch: Batch, noise: Noise, kl: str) -> dict[str, Tensor]:
        """Per example ``(B,)``: ``reconstruction`` = -log p(x|z) and ``kl`` in nats, ``mse`` per data dimension (and what
        else the likelihood has to say)."""
        mean, log_scale = self.moments(batch.x)
        z = mean + log_scale.exp() * noise.normal("z", tuple(mean.shape)) if self.sample else mean
        out = self.decoder(z)
        penalty = {
            "full": lambda: gaussian_kl(mean, log_scale).sum(-1),
            "quadratic": lambda: quadratic_penalty(mean).sum(-1),
            "none": lambda: torch.zeros_like(mean[:, 0]),
        }[kl]()
        terms = self.head.terms(out, batch.x)
        return {"reconstruction": terms["reconstruction"], "kl": penalty} | terms

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Mean over the batch of reconstruction + beta KL, in nats per example."""
        terms = {name: value.mean() for name, value in self._terms(batch, noise, self.kl).items()}
        beta = clock.values.get("beta", self.beta)
        return {"loss": terms["reconstruction"] + beta * terms["kl"], **terms}

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Full negative ELBO at beta = 1; where sigma is untrained (``sample=False``) or unpenalised, with the part of
        the KL that the loss has, for the full one would be noise."""
        terms = self._terms(batch, noise, self.kl)
        return {"monitor": terms["reconstruction"] + terms["kl"], **terms}

    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        self.head.observe(terms)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        notes = []
        if isinstance(self.head, BernoulliLikelihood) and not data.binary:
            notes.append("Binary cross-entropy on grey values is not a likelihood: its nats compare with those of no other model.")
        if not self.sample:
            notes.append("The model was trained without sampling: sigma of its posterior is untrained.")
        return tuple(notes)

    def phases(self) -> tuple[Phase, ...]:
        schedules = {"beta": linear(0.0, self.beta, self.warmup_epochs)} if self.warmup_epochs else {}
        objective = Objective("elbo", list(self.parameters()), self.loss)
        return (Phase("vae", (objective,), monitor=self.monitor, schedules=schedules, after_step=self.after_step),)

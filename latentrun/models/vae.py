"""The variational autoencoder with a diagonal Gaussian posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.config.bounds import Ge, Gt
from latentrun.data.base import Dataset
from latentrun.errors import InputError, Misfit
from latentrun.experiments.latent_noise import LatentNoise
from latentrun.functional.distances.divergences import gaussian_kl, quadratic_penalty
from latentrun.functional.noise import Noise
from latentrun.functional.schedules import cyclic
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    HasGaussianPosterior,
    HasLikelihood,
    HasNoisePhase,
    HasPrior,
    Model,
    PosteriorTraining,
)
from latentrun.nn.base import Network
from latentrun.nn.likelihood import BernoulliLikelihood, GaussianLikelihood, MixedLikelihood
from latentrun.types import Batch, Clock, Column, Objective, Phase

SEEN = 10_000  # training rows from which the noise experiment learns which variables are in use


class VAE(Model, HasGaussianPosterior, HasPrior, HasLikelihood, HasNoisePhase):
    """Minimises E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I)) (Kingma & Welling 2013, arXiv 1312.6114),
    in nats per example, summed over data dimensions and latent variables.

    ``kl``: ``full``, or only its ``quadratic`` part ½ sum mu², or ``none``. ``sample=False`` trains on z =
    mu(x): sigma then gets no gradient from the likelihood.

    ``warmup_epochs``: beta goes linearly from ``beta_start`` to ``beta``; with ``cycles`` > 1 it starts again
    every ``cycle_epochs`` epochs (Fu et al. 2019, arXiv 1903.10145). ``free_bits`` lambda: the loss charges
    each variable at least lambda nats, sum_i max(lambda, mean over the batch of KL_i), so that nothing is won
    by giving one up (Kingma et al. 2016, arXiv 1606.04934, eq. 15); ``kl`` and the monitor stay the true
    ones. ``likelihood``, ``scale``, ``balance``, ``squash``: see :mod:`latentrun.nn.likelihood`; ``auto`` is
    mixed for tables whose columns are not all real, else Gaussian.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent_dim: Annotated[int, Ge(1)],
        beta: Annotated[float, Ge(0)],
        beta_start: Annotated[float, Ge(0)],
        warmup_epochs: Annotated[float, Ge(0)],
        cycle_epochs: Annotated[float, Gt(0)] | None,
        cycles: Annotated[int, Ge(1)],
        free_bits: Annotated[float, Ge(0)],
        kl: Literal["full", "quadratic", "none"],
        sample: bool,
        likelihood: Literal["auto", "gaussian", "bernoulli", "mixed"],
        scale: Annotated[float, Gt(0)],
        balance: Literal["fixed", "learned", "running_mse"],
        squash: bool,
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.beta, self.kl_part, self.sample, self.free_bits = beta, kl, sample, free_bits
        if beta_start and not warmup_epochs:
            raise InputError(
                f"model.beta_start: {beta_start:g} is where the weight begins to move: it needs "
                "warmup_epochs above 0"
            )
        if cycle_epochs is not None and cycles == 1:
            raise InputError(
                f"model.cycle_epochs: {cycle_epochs:g} is the length of one of several cycles: it "
                "needs cycles above 1"
            )
        if cycles > 1 and not 0 < warmup_epochs <= (cycle_epochs or 0):
            raise InputError(
                f"model.cycles: {cycles} cycles need cycle_epochs, and warmup_epochs above 0 and no "
                "longer than a cycle"
            )
        if free_bits and kl != "full":
            raise InputError(f"model.free_bits: needs kl=full, got kl={kl}")
        rise = (beta_start, beta, warmup_epochs, cycle_epochs or warmup_epochs, cycles)
        self.schedules = {"beta": cyclic(*rise)} if warmup_epochs else {}
        self.encoder = network.encoder(self.event_shape, 2 * latent_dim)
        self.decoder = network.decoder(latent_dim, self.event_shape)
        if likelihood == "auto":
            likelihood = "gaussian" if all(column.kind == "real" for column in columns) else "mixed"
        if squash and not all(math.isfinite(bound) for bound in value_range):
            raise Misfit("model.squash: needs data in a finite range")
        if likelihood == "gaussian":
            self.head = GaussianLikelihood(
                self.event_shape, tuple(value_range) if squash else None, scale, balance
            )
        elif likelihood == "mixed":
            if not columns:
                raise Misfit(
                    "model.likelihood: mixed needs the columns of a table; these data have none: use "
                    "auto or gaussian"
                )
            self.head = MixedLikelihood(columns, scale, balance)
        elif value_range[0] < 0 or value_range[1] > 1:
            raise Misfit(
                f"model.likelihood: bernoulli needs data in [0, 1]; these lie in {list(value_range)}: "
                "use gaussian"
            )
        elif balance != "fixed":
            raise InputError(
                f"model.balance: {balance} moves gamma, which bernoulli has not: use "
                "model.likelihood=gaussian"
            )
        else:
            self.head = BernoulliLikelihood(self.event_shape)
        self.register_buffer("_origin", torch.zeros(()), persistent=False)

    # ---------------------------------------------------------------- what the finished model can do
    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x), each ``(N, d)``."""
        return self.encoder(x).chunk(2, dim=1)

    @property
    def posterior_training(self) -> PosteriorTraining:
        return PosteriorTraining(self.sample, self.kl_part, self.beta)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
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
        self.space(space)
        return self.head.mean(self.decoder(z))

    def likelihood(self, z: Tensor) -> Distribution:
        return self.head.distribution(self.decoder(z))

    # ---------------------------------------------------------------- how it is trained
    def _coded(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """z ``(B, d)`` as training draws it, and what the loss charges each variable for, ``(B, d)`` in
        nats."""
        mean, log_scale = self.moments(x)
        z = mean + log_scale.exp() * noise.normal("z", tuple(mean.shape)) if self.sample else mean
        if self.kl_part == "full":
            return z, gaussian_kl(mean, log_scale)
        return z, quadratic_penalty(mean) if self.kl_part == "quadratic" else torch.zeros_like(mean)

    def _charged(self, terms: dict[str, Tensor], kl: Tensor, clock: Clock) -> dict[str, Tensor]:
        """Means over the batch with the loss made of them; ``kl (B, d)``."""
        total = kl.sum() / len(kl)
        charged = kl.mean(0).clamp_min(self.free_bits).sum() if self.free_bits else total
        beta = clock.values.get("beta", self.beta)
        return {
            "loss": terms["reconstruction"] + beta * charged,
            "reconstruction": terms["reconstruction"],
            "kl": total,
        } | terms

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Mean over the batch of ``reconstruction`` = -log p(x|z) + beta ``kl``, in nats per example; ``mse``
        per data dimension (and what else the likelihood has to say)."""
        z, kl = self._coded(batch.x, noise)
        return self._charged(self.head.means(self.decoder(z), batch.x), kl, clock)

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """Full negative ELBO at beta = 1 and its terms, per example ``(B,)``; where sigma is untrained
        (``sample=False``) or unpenalised, with the part of the KL that the loss has, for the full one would
        be noise."""
        z, kl = self._coded(batch.x, noise)
        terms, kl = self.head.terms(self.decoder(z), batch.x), kl.sum(1)
        return {
            "monitor": terms["reconstruction"] + kl,
            "reconstruction": terms["reconstruction"],
            "kl": kl,
        } | terms

    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        self.head.observe(terms)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        notes = []
        if isinstance(self.head, BernoulliLikelihood) and not data.binary:
            notes.append(
                "Binary cross-entropy on grey values is not a likelihood: its nats compare with those "
                "of no other model."
            )
        if not self.sample:
            notes.append("The model was trained without sampling: sigma of its posterior is untrained.")
        return tuple(notes)

    def phases(self) -> tuple[Phase, ...]:
        objective = Objective("elbo", list(self.parameters()), self.loss)
        return (
            Phase(
                "vae",
                (objective,),
                monitor=self.monitor,
                schedules=self.schedules,
                after_step=self.after_step,
            ),
        )

    def noise_phase(self, memory: LatentNoise) -> Phase:
        memory.prepare(self.latent_dim)

        def setup(batch: Batch, noise: Noise) -> None:
            with torch.no_grad():
                # The rows may have stayed in the memory of the machine.
                parts = [part.to(memory.scale.device) for part in batch.x[:SEEN].split(1000)]
                memory.choose(torch.cat([gaussian_kl(*self.moments(x)) for x in parts]).mean(0))

        def loss(batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
            z, kl = self._coded(batch.x, noise)
            return self._charged(
                self.head.means(self.decoder(memory.disturbed(z, noise)), batch.x), kl, clock
            )

        def monitor(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            z, kl = self._coded(batch.x, noise)
            z = memory.disturbed(z, noise)
            terms = self.head.terms(self.decoder(z), batch.x)
            without = self.head.nll(self.decoder(memory.zeroed(z)), batch.x)
            state = {
                "noise_scale": memory.scale,
                "noise_stage": memory.stage,
                "noise_variable": memory.chosen,
            }
            return {
                "monitor": terms["reconstruction"] + kl.sum(1),
                "kl": kl.sum(1),
                "gain": without - terms["reconstruction"],
                "variable_kl": kl.index_select(1, memory.chosen.view(1)).squeeze(1),
                **{name: value.expand(len(kl)).to(kl.dtype) for name, value in state.items()},
                **terms,
            }

        return Phase(
            "noise",
            (Objective("elbo", list(self.parameters()), loss),),
            monitor=monitor,
            epochs=memory.longest,
            setup=setup,
            after_step=self.after_step,
            decide=memory.decide,
            finished=memory.finished,
            memory=memory,
            select=False,
        )

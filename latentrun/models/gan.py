"""The generative adversarial network."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.callbacks import Begin, MovingAverage
from latentrun.config.bounds import Between, Count, Ge
from latentrun.data.base import Dataset
from latentrun.distributions.base import Uniform
from latentrun.errors import InputError
from latentrun.functional.adversarial import (
    Game,
    critic_loss,
    generator_loss,
    gradient_penalty,
    squared_slopes,
)
from latentrun.functional.distances.energy import energy_distance
from latentrun.functional.noise import Noise
from latentrun.manifolds import Compact, Euclidean, space
from latentrun.models.base import HasPrior, Model, prior_points
from latentrun.nn.base import Network
from latentrun.types import Batch, Clock, Objective, OfSplit, Phase

COMPARED = 2000  # rows and samples that the monitor holds against each other, at most


class GAN(Model, HasPrior):
    """A generator x = m + s g(z), z ~ p(z), against a critic f((x - m) / s): m the mean of the training rows,
    s their root mean variance, one number. It has no encoder.

    ``latent``: the space of z by its short text; p(z) is N(0, I) on e<n>, uniform on bounded spaces.
    ``network``: its decoder is the generator, its encoder the critic. ``loss``: what they play for, see
    :mod:`latentrun.functional.adversarial`; ``wgan_gp`` adds ``gradient_penalty`` times E (||∇f|| - 1)², and
    any of them ``r1`` / 2 E ||∇f(x)||² on training rows (Mescheder et al. 2018, arXiv 1801.04406, eq. 9), at
    every ``r1_every``-th step and then as many times as much (Karras et al. 2020, arXiv 1912.04958, appendix
    B). The critic makes ``critic_steps`` steps for each of the generator's. Slopes are in the units of the
    standardised data.

    The finished model decodes with the moving average of the generator's weights, which after each of its
    steps keeps the share ``decay``, as it was after the epoch whose samples came nearest to the validation
    rows by their energy distance: at most 2,000 of each, decoded from the same codes in every epoch.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        event_shape: tuple[int, ...],
        network: Network,
        latent: str,
        loss: Game,
        gradient_penalty: Annotated[float, Ge(0)],
        r1: Annotated[float, Ge(0)],
        r1_every: Annotated[int, Count(1)],
        critic_steps: Annotated[int, Count(1, 1000)],
        decay: Annotated[float, Between(0, 1)],
    ):
        super().__init__(event_shape, {"z": space(latent, "model.latent")})
        if not isinstance(self.spaces["z"], Euclidean | Compact):
            raise InputError(
                f"model.latent: {latent} has no law to draw from; e<n> and bounded spaces, such as s2, have"
            )
        self.game: Game = loss
        self.gradient_penalty, self.r1, self.r1_every = gradient_penalty, r1, r1_every
        self.critic_steps, self.decay = critic_steps, decay
        self.generator = network.decoder(self.latent_dim, self.event_shape)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.critic = network.encoder(self.event_shape, 1)
        self.register_buffer("centre", torch.zeros(self.event_shape))
        self.register_buffer("scale", torch.ones(()))

    # ---------------------------------------------------------------- what the finished model can do
    @property
    def origin(self) -> str:
        return "codes drawn from the model's prior, decoded by the moving average of its generator"

    def prior(self) -> Distribution:
        if isinstance(latent := self.spaces["z"], Compact):
            return Uniform(latent, self.scale)
        return Independent(Normal(self.scale.new_zeros(self.latent_dim), 1.0), 1)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return prior_points(self.spaces["z"], n, noise)

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.centre + self.scale * self.average(z)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return (
            f"Samples are decoded by the moving average of the generator's weights (decay {self.decay:g} a "
            "step of the generator) after the epoch whose samples had the smallest energy distance to the "
            "validation rows.",
        )

    # ---------------------------------------------------------------- how it is trained
    def check_rows(self, data: Dataset) -> None:
        if len(data.split("val").x) < 2:
            raise InputError(
                "data: the val split has one row; model gan chooses its best epoch by two at least"
            )

    @torch.no_grad()
    def standardise(self, batch: Batch, noise: Noise) -> None:
        """Mean and root mean variance of all training rows; equal rows keep their unit."""
        x = batch.x.double()
        spread = (x - x.mean(0)).square().mean().sqrt()
        self.centre.copy_(x.mean(0))
        self.scale.copy_(torch.where(spread > 0, spread, 1.0))

    def made(self, n: int, noise: Noise) -> Tensor:
        """n samples ``(n, *event_shape)`` of the generator itself, in standardised units."""
        return self.generator(self.sample_prior(n, noise).to(self.centre))

    def critic_loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """What the critic pays, with its penalties; ``real`` and ``made``, its mean values of the examples
        and of as many samples, and the penalties before they are weighed."""
        x = (batch.x - self.centre) / self.scale
        with torch.no_grad():
            made = self.made(len(x), noise)
        values = self.critic(x), self.critic(made)
        loss = critic_loss(self.game, *values)
        terms = {"real": values[0].mean(), "made": values[1].mean()}
        if self.game == "wgan_gp":
            share = noise.uniform("share", (len(x),)).to(x)
            terms["gradient_penalty"] = gradient_penalty(self.critic, x, made, share)
            loss = loss + self.gradient_penalty * terms["gradient_penalty"]
        if self.r1 and clock.step % self.r1_every == 0:
            terms["r1"] = squared_slopes(self.critic, x).mean()
            loss = loss + 0.5 * self.r1 * self.r1_every * terms["r1"]
        return {"loss": loss} | terms

    def generator_loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """What the generator pays for as many samples as the batch has rows."""
        return {"loss": generator_loss(self.game, self.critic(self.made(len(batch.x), noise)))}

    def monitor(self, rows: Batch, noise: Noise) -> dict[str, Tensor]:
        """Energy distance between the rows and samples, as the finished model would decode them, in units of
        the data."""
        made = self.decode(self.sample_prior(COMPARED, noise).to(self.centre))
        return {"monitor": energy_distance(rows.x[:COMPARED], made)}

    def phases(self) -> tuple[Phase, ...]:
        # Between two steps of the generator the average goes on: all together by one decay.
        decay = self.decay ** (1 / self.critic_steps)
        critic, generator = list(self.critic.parameters()), list(self.generator.parameters())
        return (
            Phase(
                "gan",
                (
                    Objective("critic", critic, self.critic_loss),
                    Objective("generator", generator, self.generator_loss, every=self.critic_steps),
                ),
                monitor=OfSplit(self.monitor),
                callbacks=(
                    Begin(self.standardise),
                    MovingAverage(self.generator, self.average, decay),
                ),
            ),
        )

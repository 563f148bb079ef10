import copy
from typing import Annotated

import torch
from torch.nn.functional import softplus

from latentrun.callbacks import MovingAverage
from latentrun.config.bounds import Between, Ge
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from latentrun.nn.base import Network
from latentrun.types import Objective, OfSplit, Phase


class GAN(Model, HasPrior):
    """A generator against a critic (non-saturating loss), sampled by the moving average of its weights, which
    is selected by the energy distance of its samples to the validation rows."""

    def __init__(
        self,
        event_shape: tuple[int, ...],
        network: Network,
        latent_dim: Annotated[int, Ge(1)],
        decay: Annotated[float, Between(0, 1, open_=True)],
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.generator = network.decoder(latent_dim, self.event_shape)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.critic = network.encoder(self.event_shape, 1)
        self.decay = decay
        self.register_buffer("origin_", torch.zeros(latent_dim), persistent=False)

    def prior(self):
        return torch.distributions.Independent(torch.distributions.Normal(self.origin_, 1.0), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, self.latent_dim))

    def decode(self, z, space="z"):
        self.space(space)
        return self.average(z)

    def critic_loss(self, batch, noise, clock):
        made = self.generator(self.sample_prior(len(batch.x), noise)).detach()
        loss = softplus(-self.critic(batch.x)).mean() + softplus(self.critic(made)).mean()
        penalty = sum(p.square().sum() for p in self.critic.parameters())
        return {"loss": loss + 1e-3 * penalty}

    def generator_loss(self, batch, noise, clock):
        made = self.generator(self.sample_prior(len(batch.x), noise))
        return {"loss": softplus(-self.critic(made)).mean()}

    def energy_distance(self, rows, noise):
        x, y = rows.x.flatten(1), self.decode(self.sample_prior(len(rows.x), noise)).flatten(1)
        between, within = torch.cdist(x, y).mean(), torch.cdist(x, x).mean() + torch.cdist(y, y).mean()
        return {"monitor": 2 * between - within}

    def phases(self):
        critic = Objective("critic", list(self.critic.parameters()), self.critic_loss)
        generator = Objective("generator", list(self.generator.parameters()), self.generator_loss, every=2)
        average = MovingAverage(self.generator, self.average, self.decay)
        monitor = OfSplit(self.energy_distance)
        return (Phase("gan", (critic, generator), monitor=monitor, callbacks=(average,), records=False),)

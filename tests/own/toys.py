"""Toy models that show what the loop must bear: two objectives, two phases, an endless stream, memory and
schedules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from latentrun.callbacks import Begin, Callback
from latentrun.data.base import Dataset, divide
from latentrun.functional.noise import Noise
from latentrun.functional.schedules import linear
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, Model
from latentrun.types import Batch, FromCodes, FromStream, Objective, Phase, Split


class Points(Dataset):
    """n points of the plane around (1, -2)."""

    event_shape = (2,)
    value_range = (-5.0, 5.0)
    factors = ()

    def __init__(self, n: int):
        self.n = n

    def _load(self):
        x = torch.tensor([1.0, -2.0]) + 0.5 * Noise(1).normal("x", (self.n, 2))
        return divide(Split(x, torch.zeros(self.n, 0), None, torch.arange(self.n)), 0.2, 0.2, 0)


class Toy(Model):
    def __init__(self, latent_dim=1, event_shape=(2,)):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})

    def decode(self, z, space="z"):
        return z.expand(-1, *self.event_shape)


class AdversarialPair(Toy):
    """A generator x = shift + noise against a logistic critic; the data's mean is where neither can
    improve."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))
        self.critic = nn.Linear(2, 1)

    def generated(self, n, noise):
        return self.shift + 0.5 * noise.normal("x", (n, 2))

    def critic_loss(self, batch, noise, clock):
        fake = self.generated(len(batch.x), noise).detach()
        loss = F.softplus(-self.critic(batch.x)).mean() + F.softplus(self.critic(fake)).mean()
        return {"loss": loss + 0.1 * self.critic.weight.square().sum()}

    def generator_loss(self, batch, noise, clock):
        return {"loss": F.softplus(-self.critic(self.generated(len(batch.x), noise))).mean()}

    def phases(self):
        critic = Objective("critic", list(self.critic.parameters()), self.critic_loss)
        generator = Objective("generator", [self.shift], self.generator_loss, every=2)
        return (Phase("gan", (critic, generator)),)


class TwoPhase(Toy, HasEncoder):
    """A linear autoencoder, then a Gaussian fitted by gradient to its codes."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(2, 1), nn.Linear(1, 2)
        self.mean = nn.Parameter(torch.zeros(1))

    def encode(self, x, space="z"):
        return self.down(x)

    def decode(self, z, space="z"):
        return self.up(z)

    def error(self, batch):
        return (batch.x - self.up(self.down(batch.x))).square().sum(1)

    def phases(self):
        first = Objective(
            "ae",
            [*self.down.parameters(), *self.up.parameters()],
            lambda b, n, c: {"loss": self.error(b).mean()},
        )
        second = Objective(
            "fit", [self.mean], lambda b, n, c: {"loss": (b.x - self.mean).square().sum(1).mean()}
        )
        codes = FromCodes(lambda x, noise: self.encode(x))
        return (
            Phase("ae", (first,), monitor=lambda b, n: {"monitor": self.error(b)}),
            Phase(
                "codes",
                (second,),
                source=codes,
                monitor=lambda b, n: {"monitor": (b.x - self.mean).square().sum(1)},
            ),
        )


class Stone(Callback):
    def __init__(self, stone: Path):
        super().__init__()
        self.stone = stone

    def epoch_end(self, clock):
        if clock.epoch >= 2 and self.stone.exists():
            raise OSError(f"stumbled over {self.stone.name}")


class Stumbling(TwoPhase):
    """Fails in its second epoch while there is a file ``stone``."""

    def __init__(self, stone: str):
        super().__init__()
        self.stone = Path(stone)

    def phases(self):
        first, second = super().phases()
        return (replace(first, callbacks=(Stone(self.stone),)), second)


class Stream(Toy):
    """Learns the radius of a circle from points it draws itself, without end; ``setup`` starts at the first
    batch's mean norm."""

    def __init__(self):
        super().__init__()
        self.radius = nn.Parameter(torch.zeros(()))

    def draw(self, n, noise):
        angle = 6.283185 * noise.uniform("angle", (n,))
        return Batch(3.0 * torch.stack([angle.cos(), angle.sin()], 1))

    def monitor(self, batch, noise):
        return {"monitor": (batch.x.norm(dim=1) - self.radius).square()}

    def setup(self, batch, noise):
        with torch.no_grad():
            self.radius.copy_(batch.x.norm(dim=1).mean() / 2)

    def phases(self):
        objective = Objective(
            "radius", [self.radius], lambda b, n, c: {"loss": (b.x.norm(dim=1) - self.radius).square().mean()}
        )
        source = FromStream(self.draw, steps_per_epoch=7)
        return (
            Phase(
                "stream", (objective,), source=source, callbacks=(Begin(self.setup),), monitor=self.monitor
            ),
        )


class Remembering(Toy):
    """A moving average of a parameter, kept in a buffer, and noise whose scale follows a schedule."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(2))
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("epochs_seen", torch.zeros((), dtype=torch.int64))
        self.seen: list[float] = []

    def loss(self, batch, noise, clock):
        x = batch.x + clock.values["sigma"] * noise.normal("x", tuple(batch.x.shape))
        return {"loss": (x - self.value).square().sum(1).mean()}

    def monitor(self, batch, noise):
        return {"monitor": (batch.x - self.average).square().sum(1)}

    def phases(self):
        return (
            Phase(
                "value",
                (Objective("value", [self.value], self.loss),),
                monitor=self.monitor,
                schedules={"sigma": linear(1.0, 0.0, 3.0)},
                callbacks=(Averaging(self),),
            ),
        )


class Averaging(Callback):
    def __init__(self, model: Remembering):
        super().__init__()
        self.of = (model,)

    def after_step(self, terms, clock):
        (model,) = self.of
        model.seen.append(clock.values["sigma"])
        model.average.lerp_(model.value.detach(), 0.1)

    def epoch_end(self, clock):
        self.of[0].epochs_seen += 1

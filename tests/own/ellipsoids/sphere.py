from typing import Annotated

import torch
from torch import nn

from latentrun.config.bounds import Ge
from latentrun.manifolds import Manifold
from latentrun.models.base import HasEncoder, Model
from latentrun.nn.base import Network
from latentrun.types import Objective, Phase


class Sphere(Manifold):
    """The unit sphere of dimension ``dim`` in R^(dim + 1)."""

    def __init__(self, dim: int):
        self.dim, self.ambient_dim, self.name = dim, dim + 1, f"s{dim}"

    def project(self, z):
        return nn.functional.normalize(z, dim=-1)

    def distance(self, a, b):
        return 2 * torch.asin(((a - b).norm(dim=-1) / 2).clamp(max=1))

    def exp(self, z, v):
        length = v.norm(dim=-1, keepdim=True)
        return z * length.cos() + v * torch.sinc(length / torch.pi)

    def log(self, a, b):
        across = b - (a * b).sum(-1, keepdim=True) * a
        return nn.functional.normalize(across, dim=-1) * self.distance(a, b).unsqueeze(-1)


class SphereAE(Model, HasEncoder):
    """An autoencoder whose codes lie on a sphere."""

    def __init__(self, event_shape: tuple[int, ...], network: Network, sphere_dim: Annotated[int, Ge(1)]):
        super().__init__(event_shape, {"z": Sphere(sphere_dim)})
        self.down = network.encoder(self.event_shape, self.latent_dim)
        self.up = network.decoder(self.latent_dim, self.event_shape)

    def encode(self, x, space="z"):
        return self.space(space).project(self.down(x))

    def decode(self, z, space="z"):
        self.space(space)
        return self.up(z)

    def monitor(self, batch, noise):
        return {"monitor": (batch.x - self.decode(self.encode(batch.x))).square().flatten(1).sum(1)}

    def loss(self, batch, noise, clock):
        return {"loss": self.monitor(batch, noise)["monitor"].mean()}

    def phases(self):
        return (Phase("ae", (Objective("ae", list(self.parameters()), self.loss),), monitor=self.monitor),)

from math import prod
from typing import Annotated

import torch
from torch import nn

from latentrun.callbacks import Begin
from latentrun.config.bounds import Ge
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, Model
from latentrun.types import Objective, Phase


class PCA(Model, HasEncoder):
    """A linear autoencoder that starts at the principal components, where its squared error is least."""

    def __init__(self, event_shape: tuple[int, ...], latent_dim: Annotated[int, Ge(1)]):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.mean = nn.Parameter(torch.zeros(prod(event_shape)))
        self.axes = nn.Parameter(torch.eye(prod(event_shape))[:latent_dim])

    def encode(self, x, space="z"):
        return (x.flatten(1) - self.mean) @ self.axes.T

    def decode(self, z, space="z"):
        return (self.mean + z @ self.axes).unflatten(1, self.event_shape)

    @torch.no_grad()
    def start(self, batch, noise):
        x = batch.x.flatten(1)
        self.mean.copy_(x.mean(0))
        self.axes.copy_(torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[: self.latent_dim])

    def loss(self, batch, noise, clock):
        return {"loss": self.monitor(batch, noise)["monitor"].mean()}

    def monitor(self, batch, noise):
        return {"monitor": (batch.x - self.decode(self.encode(batch.x))).square().flatten(1).sum(1)}

    def phases(self):
        return (
            Phase(
                "pca",
                (Objective("pca", list(self.parameters()), self.loss),),
                monitor=self.monitor,
                callbacks=(Begin(self.start),),
            ),
        )

import torch
from torch import nn

from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, Model
from latentrun.types import Objective, Phase


class Clumsy(Model, HasEncoder):
    """A linear autoencoder whose codes are right and whose training is not."""

    def __init__(self, event_shape: tuple[int, ...]):
        super().__init__(event_shape, {"z": Euclidean(2)})
        self.axes = nn.Parameter(torch.eye(event_shape[0])[:2])

    def encode(self, x, space="z"):
        return x @ self.axes.T

    def decode(self, z, space="z"):
        return z @ self.axes

    def loss(self, batch, noise, clock):
        error = (batch.x - self.decode(self.encode(batch.x))).square()
        return {"total": error.mean()}  # mistake

    def monitor(self, batch, noise):
        error = (batch.x - self.decode(self.encode(batch.x))).square()
        return {"monitor": error.mean()}  # mistake

    def phases(self):
        return (Phase("clumsy", (Objective("all", [self.axes], self.loss),), monitor=self.monitor),)

import torch

from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, Model, vector_size


class Turned(Model, HasEncoder):
    """A model that came from elsewhere: vectors, turned by a fixed rotation. There is nothing to train."""

    def __init__(self, event_shape: tuple[int, ...]):
        d = vector_size("turned", event_shape)
        super().__init__(event_shape, {"z": Euclidean(d)})
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("turn", torch.linalg.qr(torch.randn(d, d, generator=generator)).Q)

    def encode(self, x, space="z"):
        self.space(space)
        return x @ self.turn.T

    def decode(self, z, space="z"):
        self.space(space)
        return z @ self.turn

    def phases(self):
        return ()

"""Fully connected networks."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated, Literal

from torch import nn

from latentrun.config.bounds import Count, Each
from latentrun.nn.base import Network
from latentrun.nn.initial import scaled


def layers(widths: list[int], activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """Linear layers between the given widths, an activation after each but the last.

    >>> [type(layer).__name__ for layer in layers([4, 3, 2])]
    ['Linear', 'ReLU', 'Linear']
    """
    stack: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        stack += [nn.Linear(n_in, n_out), activation()]
    return stack[:-1]


ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "softplus": nn.Softplus, "silu": nn.SiLU}


class Dense(Network):
    """Linear layers with ReLU: D -> widths -> code, mirrored in the decoder.

    >>> import torch
    >>> encoder = Dense([8]).encoder((1, 4, 4), out_features=2)
    >>> encoder(torch.zeros(5, 1, 4, 4)).shape
    torch.Size([5, 2])
    """

    activation: type[nn.Module] = nn.ReLU

    def __init__(self, widths: Annotated[list[int], Each(Count(1, 65_536))]):
        self.widths = list(widths)

    def encoder(self, event_shape, out_features):
        widths = [prod(event_shape), *self.widths, out_features]
        return scaled(nn.Sequential(nn.Flatten(), *layers(widths, self.activation)))

    def decoder(self, in_features, event_shape):
        stack = layers([in_features, *reversed(self.widths), prod(event_shape)], self.activation)
        return scaled(nn.Sequential(*stack, nn.Unflatten(1, event_shape)))


class SmoothDense(Dense):
    """As :class:`Dense`, with an ``activation`` that has derivatives of every order: the metric of a decoder
    with kinks is constant between them, and its geodesics are straight there. Arvanitidis et al. 2018, arXiv
    1710.11379, theorem 1, asks for two derivatives at least."""

    def __init__(
        self,
        widths: Annotated[list[int], Each(Count(1, 65_536))],
        activation: Literal["tanh", "softplus", "silu"],
    ):
        super().__init__(widths)
        self.activation = ACTIVATIONS[activation]

"""Fully connected networks."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated

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


class Dense(Network):
    """Linear layers with ReLU: D -> widths -> code, mirrored in the decoder.

    >>> import torch
    >>> encoder = Dense([8]).encoder((1, 4, 4), out_features=2)
    >>> encoder(torch.zeros(5, 1, 4, 4)).shape
    torch.Size([5, 2])
    """

    def __init__(self, widths: Annotated[list[int], Each(Count(1, 65_536))]):
        self.widths = list(widths)

    def encoder(self, event_shape, out_features):
        return scaled(nn.Sequential(nn.Flatten(), *layers([prod(event_shape), *self.widths, out_features])))

    def decoder(self, in_features, event_shape):
        stack = layers([in_features, *reversed(self.widths), prod(event_shape)])
        return scaled(nn.Sequential(*stack, nn.Unflatten(1, event_shape)))

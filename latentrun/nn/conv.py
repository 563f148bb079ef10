"""Convolutional networks for pictures."""

from __future__ import annotations

from math import prod
from typing import Annotated

from torch import Tensor, nn

from latentrun.config.bounds import Count, Each
from latentrun.errors import InputError, Misfit
from latentrun.nn.base import Network, require_picture
from latentrun.nn.dense import layers
from latentrun.nn.initial import scaled


class Conv(Network):
    """Blocks of 3x3 convolution + 2x2 max pooling + ReLU, then dense layers; the decoder mirrors them with
    transposed convolutions of stride 2. Sides of any length: pooling rounds down, the decoder restores the
    lost row.

    ``channels``: outputs of each block; ``strides``: stride of each block's convolution; ``widths``: dense
    layers between the last block and the code.

    >>> import torch
    >>> conv = Conv(channels=[4, 8], strides=[1, 1], widths=[])
    >>> conv.encoder((1, 9, 9), out_features=2)(torch.zeros(5, 1, 9, 9)).shape
    torch.Size([5, 2])
    >>> conv.decoder(2, (1, 9, 9))(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 9, 9])
    """

    def __init__(
        self,
        channels: Annotated[list[int], Each(Count(1, 65_536))],
        strides: Annotated[list[int], Each(Count(1, 1024))],
        widths: Annotated[list[int], Each(Count(1, 65_536))],
    ):
        if len(strides) != len(channels):
            raise InputError(
                f"network.strides: {len(strides)} values for {len(channels)} blocks of network.channels"
            )
        self.channels, self.strides, self.widths = list(channels), list(strides), list(widths)

    def _sizes(self, event_shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Height and width before each block and after the last."""
        _, height, width = require_picture("conv", event_shape)
        sizes = [(height, width)]
        for stride in self.strides:
            height, width = (((side - 1) // stride + 1) // 2 for side in sizes[-1])
            sizes.append((height, width))
        if min(sizes[-1]) < 1:
            raise Misfit(
                f"network.channels: {len(self.channels)} blocks leave nothing of {event_shape[1]} x "
                f"{event_shape[2]} pictures; use fewer"
            )
        return sizes

    def encoder(self, event_shape, out_features):
        sizes = self._sizes(event_shape)
        # ReLU after pooling is the same function as before it, on a quarter of the values.
        blocks: list[nn.Module] = []
        before = event_shape[0]
        for after, stride in zip(self.channels, self.strides, strict=True):
            blocks += [nn.Conv2d(before, after, 3, stride, padding=1), nn.MaxPool2d(2), nn.ReLU()]
            before = after
        flat = before * prod(sizes[-1])
        return scaled(nn.Sequential(*blocks, nn.Flatten(), *layers([flat, *self.widths, out_features])))

    def decoder(self, in_features, event_shape):
        sizes = self._sizes(event_shape)
        shape = (self.channels[-1] if self.channels else event_shape[0], *sizes[-1])
        stack = [*layers([in_features, *reversed(self.widths), prod(shape)]), nn.Unflatten(1, shape)]
        outputs = [event_shape[0], *self.channels[:-1]]
        for i in reversed(range(len(self.channels))):
            stack += [nn.ReLU(), Upsample(self.channels[i], outputs[i], 2 * self.strides[i], sizes[i])]
        return scaled(nn.Sequential(*stack))


class Upsample(nn.Module):
    """A transposed convolution that reaches exactly ``size``, mirror of a convolution + pooling by
    ``factor``."""

    def __init__(self, n_in: int, n_out: int, factor: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        # kernel - 2 padding = factor: a side h becomes factor * h, to which output_padding adds rows and the
        # crop takes them away.
        kernel = factor + 2
        self.conv = nn.ConvTranspose2d(n_in, n_out, kernel, factor, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, h, w)`` to ``(N, n_out, *size)``."""
        reach = [max(side, self.conv.stride[0] * h) for side, h in zip(self.size, x.shape[2:], strict=True)]
        return self.conv(x, output_size=reach)[..., : self.size[0], : self.size[1]]

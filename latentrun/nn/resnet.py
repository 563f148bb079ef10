"""Residual networks for pictures."""

from __future__ import annotations

from math import gcd, prod, sqrt
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentrun.config.bounds import Count, Each
from latentrun.errors import Misfit
from latentrun.nn.base import Network, require_picture
from latentrun.nn.dense import layers
from latentrun.nn.initial import scaled

GROUPED = 8  # channels normalised together, about


class ResNet(Network):
    """Stages of residual blocks with activations before convolutions (He et al. 2016, arXiv 1603.05027), then
    dense layers; the decoder mirrors them. Sides of any length.

    The encoder begins with a 3x3 convolution to ``channels[0]``; every stage halves the sides (rounded up) in
    its first block, by a stride of 2, and has ``blocks`` blocks of ``channels[i]``. A decoder's stage ends
    with the block that doubles the sides, by repeating pixels (the row too many is cut off): no
    checkerboards, which transposed convolutions leave. ``widths``: dense layers between the last stage and
    the code.

    ``norm``: ``group`` normalises each picture's channels in groups of about eight (Wu & He 2018, arXiv
    1803.08494), ``none`` nothing. Never over the batch: what a batch normalisation remembers is state that
    changes within the loss, and makes a code depend on the other rows. The second convolution of each block
    begins 1 / sqrt(number of blocks) as large as it would, so that the sum of all blocks is as large as the
    one path past them.

    >>> resnet = ResNet(channels=[8, 8], blocks=1, norm="group", widths=[])
    >>> resnet.encoder((1, 9, 9), out_features=2)(torch.zeros(5, 1, 9, 9)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        channels: Annotated[list[int], Each(Count(1, 65_536))],
        blocks: Annotated[int, Count(1, 1000)],
        norm: Literal["group", "none"],
        widths: Annotated[list[int], Each(Count(1, 65_536))],
    ):
        self.channels, self.blocks, self.norm, self.widths = list(channels), blocks, norm, list(widths)

    def _sizes(self, event_shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Height and width before each stage and after the last."""
        _, height, width = require_picture("resnet", event_shape)
        sizes = [(height, width)]
        for _ in self.channels:
            if max(sizes[-1]) == 1:
                raise Misfit(
                    f"network.channels: {len(self.channels)} stages leave nothing of {event_shape[1]} x "
                    f"{event_shape[2]} pictures; use fewer"
                )
            height, width = ((side + 1) // 2 for side in sizes[-1])
            sizes.append((height, width))
        return sizes

    def encoder(self, event_shape, out_features):
        sizes = self._sizes(event_shape)
        before = self.channels[0] if self.channels else event_shape[0]
        stack: list[nn.Module] = [nn.Conv2d(event_shape[0], before, 3, padding=1)] if self.channels else []
        for after in self.channels:
            stack += [Block(before, after, self.norm, down=True)]
            stack += [Block(after, after, self.norm) for _ in range(self.blocks - 1)]
            before = after
        if self.channels:
            stack += [ready(before, self.norm)]
        flat = before * prod(sizes[-1])
        return balanced(nn.Sequential(*stack, nn.Flatten(), *layers([flat, *self.widths, out_features])))

    def decoder(self, in_features, event_shape):
        sizes = self._sizes(event_shape)
        shape = (self.channels[-1] if self.channels else event_shape[0], *sizes[-1])
        stack = [*layers([in_features, *reversed(self.widths), prod(shape)]), nn.Unflatten(1, shape)]
        outputs = [self.channels[0], *self.channels[:-1]] if self.channels else []
        for i in reversed(range(len(self.channels))):
            stack += [Block(self.channels[i], self.channels[i], self.norm) for _ in range(self.blocks - 1)]
            stack += [Block(self.channels[i], outputs[i], self.norm, up=sizes[i])]
        if self.channels:
            stack += [ready(outputs[0], self.norm), nn.Conv2d(outputs[0], event_shape[0], 3, padding=1)]
        return balanced(nn.Sequential(*stack))


class Block(nn.Module):
    """x + conv(act(conv(act(x)))), both 3x3; where shapes change, a 1x1 convolution of act(x) takes the place
    of x.

    ``down`` halves the sides, ``up`` doubles them and cuts them to that height and width.
    """

    def __init__(
        self, n_in: int, n_out: int, norm: str, down: bool = False, up: tuple[int, int] | None = None
    ):
        super().__init__()
        stride = 2 if down else 1
        self.up = up
        self.before, self.between = ready(n_in, norm), ready(n_out, norm)
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.past = nn.Conv2d(n_in, n_out, 1, stride) if down or up or n_in != n_out else None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, n_in, h, w)`` to ``(N, n_out, h', w')``."""
        active = self.before(x)
        # Before the pixels are repeated: a 1x1 convolution gives the same, of a quarter of them.
        past = x if self.past is None else self.past(active)
        if self.up is not None:
            active, past = repeated(active, self.up), repeated(past, self.up)
        return past + self.second(self.between(self.first(active)))


def repeated(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Every pixel twice in either direction, cut to ``size``: ``(N, c, h, w)`` to ``(N, c, *size)``.

    >>> repeated(torch.tensor([[[[1.0, 2.0]]]]), (2, 3))[0, 0]
    tensor([[1., 1., 2.],
            [1., 1., 2.]])
    """
    return F.interpolate(x, scale_factor=2, mode="nearest")[..., : size[0], : size[1]]


def ready(channels: int, norm: str) -> nn.Module:
    """Normalisation and ReLU, of ``(N, channels, h, w)``; ``norm`` is ``group`` or ``none``."""
    if norm == "none":
        return nn.ReLU()
    return nn.Sequential(nn.GroupNorm(gcd(channels, max(1, channels // GROUPED)), channels), nn.ReLU())


@torch.no_grad()
def balanced(module: nn.Module) -> nn.Module:
    """Initial weights of :func:`scaled`, with what the blocks add made as large together as what passes
    them."""
    blocks = [part for part in scaled(module).modules() if isinstance(part, Block)]
    for block in blocks:
        block.second.weight.div_(sqrt(len(blocks)))
    return module

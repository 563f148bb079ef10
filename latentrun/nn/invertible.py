"""Maps of pictures that can be undone, with the logarithm of their Jacobian determinant: what flows are built
of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 2.0  # |log scale| of one coupling stays below: its inverse loses no more than a digit


class Invertible(nn.Module, ABC):
    """A bijection of ``(N, C, H, W)``. Pure: what it does depends on its parameters alone, not on whether it
    has seen data."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log |det dy/dx|, which broadcasts to ``(N,)``, in nats."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """x."""

    def calibrate(self, x: Tensor) -> Tensor:
        """Set what begins with statistics of data to those of ``x``; y."""
        return self(x)[0]


class ActNorm(Invertible):
    """y = exp(log_scale) (x + shift), both one number a channel; calibrated, y has mean 0 and variance 1 in
    every channel, over examples and places (Kingma & Dhariwal 2018, arXiv 1807.03039, section 3.1). The
    paper's does this in its first forward pass; here it is asked for, so that a forward pass changes
    nothing."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_scale.exp() * (x + self.shift), self.log_scale.sum() * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        return y * (-self.log_scale).exp() - self.shift

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> Tensor:
        mean, spread = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
        self.shift.copy_(-mean.view_as(self.shift))
        # A channel that never varies keeps its unit.
        self.log_scale.copy_(-torch.where(spread > 1e-6, spread, 1.0).log().view_as(self.log_scale))
        return self(x)[0]


class Mixing(Invertible):
    """y = W x at every place, a 1x1 convolution with W = P L (U + diag(sign exp(log_scale))): P a fixed
    permutation, L unit lower triangular, U strictly upper triangular, so that log |det W| = sum log_scale and
    the inverse is two triangular solutions (Kingma & Dhariwal 2018, eq. 10 and 11). It begins as a random
    rotation."""

    def __init__(self, channels: int):
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels)).Q
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        """L ``(C, C)`` and the upper triangular factor."""
        one = torch.eye(len(self.log_scale)).to(self.lower)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
        return self.lower.tril(-1) + one, upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        weight = self.permutation @ lower @ upper
        return F.conv2d(x, weight[:, :, None, None]), self.log_scale.sum() * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        lower, upper = self._factors()
        rows = self.permutation.mT @ y.transpose(0, 1).flatten(1)
        rows = torch.linalg.solve_triangular(lower, rows, upper=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper, rows, upper=True)
        return rows.view(y.shape[1], len(y), *y.shape[2:]).transpose(0, 1)


class Affine(nn.Module):
    """Shift and log scale, each ``(N, targets, H, W)``, as functions of ``(N, sources, H, W)``: convolutions
    3x3, 1x1, 3x3 with ``hidden`` channels and ReLU between. The last begins with weights 0, so that what it
    moves is at first left as it is; log scale = 2 tanh(out / 2)."""

    def __init__(self, sources: int, targets: int, hidden: int):
        super().__init__()
        last = nn.Conv2d(hidden, 2 * targets, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        first = nn.Conv2d(sources, hidden, 3, padding=1)
        self.net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.net(x).chunk(2, 1)
        return shift, LARGEST * torch.tanh(raw / LARGEST)


class Coupling(Invertible):
    """The first half of the channels stays and moves the rest: y2 = exp(s(x1)) x2 + t(x1) (Dinh et al. 2017,
    arXiv 1605.08803, eq. 7)."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.kept = channels // 2
        self.affine = Affine(self.kept, channels - self.kept, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        still, moved = x[:, : self.kept], x[:, self.kept :]
        shift, log_scale = self.affine(still)
        return torch.cat([still, log_scale.exp() * moved + shift], 1), log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor) -> Tensor:
        still, moved = y[:, : self.kept], y[:, self.kept :]
        shift, log_scale = self.affine(still)
        return torch.cat([still, (moved - shift) * (-log_scale).exp()], 1)


class Chain(Invertible):
    """One map after the other."""

    def __init__(self, *maps: Invertible):
        super().__init__()
        self.maps = nn.ModuleList(maps)

    @property
    def in_order(self) -> list[Invertible]:
        """Its maps."""
        return cast(list[Invertible], list(self.maps))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for each in self.in_order:
            x, log_det = each(x)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor) -> Tensor:
        for each in reversed(self.in_order):
            y = each.inverse(y)
        return y

    def calibrate(self, x: Tensor) -> Tensor:
        for each in self.in_order:
            x = each.calibrate(x)
        return x


class MultiScale(nn.Module):
    """Pictures ``(N, C, H, W)`` to vectors z ``(N, C H W)`` and back. At each of ``scales`` scales 2 x 2
    places become channels, ``steps`` steps of activation norm, 1x1 convolution and coupling follow, and half
    of the channels leave; what stays goes on to the next scale. What leaves is y -> (y - t(h)) exp(-s(h)), h
    what stays: under N(0, I) it is a normal whose mean and scale depend on h, as in Kingma & Dhariwal 2018,
    section 3. In z the finest scale comes first. H and W must be divisible by 2^scales."""

    def __init__(self, shape: tuple[int, int, int], scales: int, steps: int, hidden: int):
        super().__init__()
        channels, height, width = shape
        chains: list[Chain] = []
        leaving: list[Affine] = []
        self.shapes: list[tuple[int, int, int]] = []  # of what leaves at each scale
        for scale in range(scales):
            channels, height, width = 4 * channels, height // 2, width // 2
            parts: list[Invertible] = []
            for _ in range(steps):
                parts += [ActNorm(channels), Mixing(channels), Coupling(channels, hidden)]
            chains.append(Chain(*parts))
            if scale < scales - 1:
                channels //= 2
                leaving.append(Affine(channels, channels, hidden))
            self.shapes.append((channels, height, width))
        self.chains, self.leaving = nn.ModuleList(chains), nn.ModuleList(leaving)

    def _scales(self) -> list[tuple[Chain, Affine | None]]:
        """From the finest on: what happens there, and what makes of what stays the law of what leaves."""
        return cast(list, list(zip(self.chains, [*self.leaving, None], strict=True)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx| ``(N,)`` in nats."""
        total, parts = x.new_zeros(len(x)), []
        for chain, leaving in self._scales():
            x, log_det = chain(F.pixel_unshuffle(x, 2))
            total = total + log_det
            if leaving is not None:
                x, y = x.chunk(2, 1)
                shift, log_scale = leaving(x)
                parts.append(((y - shift) * (-log_scale).exp()).flatten(1))
                total = total - log_scale.sum((1, 2, 3))
        return torch.cat([*parts, x.flatten(1)], 1), total

    def inverse(self, z: Tensor) -> Tensor:
        """x."""
        sizes = [channels * height * width for channels, height, width in self.shapes]
        parts = [part.view(-1, *shape) for part, shape in zip(z.split(sizes, 1), self.shapes, strict=True)]
        x = parts.pop()
        for chain, leaving in reversed(self._scales()):
            if leaving is not None:
                shift, log_scale = leaving(x)
                x = torch.cat([x, log_scale.exp() * parts.pop() + shift], 1)
            x = F.pixel_shuffle(chain.inverse(x), 2)
        return x

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set every activation norm to the statistics of ``x`` where it stands."""
        for chain, leaving in self._scales():
            x = chain.calibrate(F.pixel_unshuffle(x, 2))
            if leaving is not None:
                x = x.chunk(2, 1)[0]

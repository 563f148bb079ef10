"""Iterative networks for pictures: read in glimpses, written in strokes."""

from __future__ import annotations

from math import prod, sqrt
from typing import Annotated

import torch
from torch import Tensor, nn

from latentrun.config.bounds import Count
from latentrun.nn.base import Network, require_picture
from latentrun.nn.initial import scaled

# of the logarithms of spacing, width and strength: nothing to see is beyond, and exp does not overflow
MOST = 8.0


class Draw(Network):
    """Recurrent reading and writing through a moving window, after DRAW (Gregor et al. 2015, arXiv
    1502.04623).

    The encoder looks at the picture ``steps`` times: the state of an LSTM of ``size`` units places a grid of
    ``glimpse`` x ``glimpse`` Gaussian filters on it (eqs. 21-26: centre, spacing, width and strength), and
    what they see goes into the next state; the last state gives the features. The decoder is given the code
    at each of ``steps`` steps; the state of its LSTM places a grid of ``patch`` x ``patch`` filters, through
    which it adds a patch to a canvas (eqs. 28-29). The canvas after the last step is the output, not yet
    squashed.

    ``attention`` off: every glimpse is the whole picture, every stroke the whole canvas (eqs. 17-18).

    Kept: recurrence, selective attention, the canvas that sums. What deviates, for a network here is a
    function from the picture to features and one from the code to a picture: one code for all steps instead
    of one drawn at each, so the KL term has no sum over steps; and the encoder does not see what the decoder
    has drawn so far, neither the error image nor its state. Filters begin half as wide as they are apart, so
    that a grid of any size sees the whole picture at first, and strokes are multiplied by the area of a
    filter then: a patch of ones begins as a canvas of ones.

    >>> draw = Draw(steps=2, size=8, glimpse=3, patch=3, attention=True)
    >>> draw.decoder(2, (1, 9, 9))(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 9, 9])
    """

    def __init__(
        self,
        steps: Annotated[int, Count(1, 10_000)],
        size: Annotated[int, Count(1, 65_536)],
        glimpse: Annotated[int, Count(1, 1024)],
        patch: Annotated[int, Count(1, 1024)],
        attention: bool,
    ):
        self.steps, self.size = steps, size
        self.glimpse = glimpse if attention else None
        self.patch = patch if attention else None

    def encoder(self, event_shape, out_features):
        shape = require_picture("draw", event_shape)
        return begun(Reader(shape, out_features, self.steps, self.size, self.glimpse))

    def decoder(self, in_features, event_shape):
        shape = require_picture("draw", event_shape)
        return begun(Writer(in_features, shape, self.steps, self.size, self.patch))


class Reader(nn.Module):
    """``(N, c, h, w)`` to ``(N, out_features)``; ``n`` filters in either direction, None to see
    everything."""

    def __init__(self, shape: tuple[int, int, int], out_features: int, steps: int, size: int, n: int | None):
        super().__init__()
        self.steps = steps
        self.window = None if n is None else Window(shape[1:], size, n)
        self.cell = Cell(prod(shape) if n is None else shape[0] * n * n, size)
        self.head = nn.Linear(size, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Features after the last glimpse."""
        hidden, memory = self.cell.start(x)
        seen = x.flatten(1)
        for _ in range(self.steps):
            if self.window is not None:
                down, across, strength = self.window(hidden)
                seen = strength * (down.unsqueeze(1) @ x @ across.unsqueeze(1).mT).flatten(1)
            hidden, memory = self.cell(seen, hidden, memory)
        return self.head(hidden)


class Writer(nn.Module):
    """``(N, in_features)`` to ``(N, c, h, w)``; ``n`` filters in either direction, None to write
    everywhere."""

    def __init__(self, in_features: int, shape: tuple[int, int, int], steps: int, size: int, n: int | None):
        super().__init__()
        self.steps, self.shape = steps, shape
        self.stroke = shape if n is None else (shape[0], n, n)
        self.window = None if n is None else Window(shape[1:], size, n)
        self.cell = Cell(in_features, size)
        self.head = nn.Linear(size, prod(self.stroke))

    def forward(self, z: Tensor) -> Tensor:
        """The canvas after the last stroke."""
        hidden, memory = self.cell.start(z)
        canvas = z.new_zeros(len(z), *self.shape)
        for _ in range(self.steps):
            hidden, memory = self.cell(z, hidden, memory)
            stroke = self.head(hidden).unflatten(1, self.stroke)
            if self.window is not None:
                down, across, strength = self.window(hidden)
                height = (self.window.area / strength)[:, :, None, None]
                stroke = (down.unsqueeze(1).mT @ stroke @ across.unsqueeze(1)) * height
            canvas = canvas + stroke
        return canvas


class Cell(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997) whose forget gate begins open; torch's own cannot be stacked on
    every device."""

    def __init__(self, n_in: int, size: int):
        super().__init__()
        self.size, self.gates = size, nn.Linear(n_in + size, 4 * size)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden state and memory ``(N, size)`` before the first step."""
        return x.new_zeros(len(x), self.size), x.new_zeros(len(x), self.size)

    def forward(self, x: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, n_in)`` with hidden state and memory ``(N, size)`` to the next of both."""
        let_in, keep, new, out = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        memory = torch.sigmoid(keep) * memory + torch.sigmoid(let_in) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(memory), memory


class Window(nn.Module):
    """A grid of n x n Gaussian filters on a picture, placed by a state ``(N, size)``.

    Filter i in either direction is N(pixel; centre + (i - (n - 1) / 2) spacing, width²), normalised over the
    pixels. Gives ``(N, n, h)``, ``(N, n, w)`` and the strength ``(N, 1)``. At a state of 0 the grid spans the
    longer side from end to end.
    """

    def __init__(self, sides: tuple[int, int], size: int, n: int):
        super().__init__()
        self.sides, self.n = sides, n
        self.spacing = max(1.0, (max(sides) - 1) / max(1, n - 1)) if n > 1 else float(max(sides))
        self.width, self.area = self.spacing / 2, self.spacing**2
        self.place = nn.Linear(size, 5)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filters down and across, and the strength, at a state."""
        y, x, *logs = self.place(hidden).split(1, 1)
        spacing, width, strength = (value.clamp(-MOST, MOST) for value in logs)
        places = torch.arange(self.n, device=hidden.device, dtype=hidden.dtype) - (self.n - 1) / 2
        steps = places * self.spacing * spacing.exp()
        # Widths as variances, as in the paper: exp(place) multiplies the width².
        scale = -0.5 / (self.width**2 * width.exp()).unsqueeze(2)
        filters = []
        for side, at in zip(self.sides, (y, x), strict=True):
            # From -1 to 1 across the picture: one pixel beyond either end.
            centre = (side - 1) / 2 + at * (side + 1) / 2
            pixel = torch.arange(side, device=hidden.device, dtype=hidden.dtype)
            distance = (pixel - (centre + steps).unsqueeze(2)).square()
            # A softmax is the Gaussian normalised over the pixels, also for filters far outside, whose
            # weights are all 0.
            filters.append((scale * distance).softmax(2))
        return *filters, strength.exp()


@torch.no_grad()
def begun(module: Reader | Writer) -> Reader | Writer:
    """The module with the initial weights of :func:`scaled`; windows begin nearly still, forget gates open,
    and a sum over steps as large as one.

    A state is at most 1 and begins far smaller, and strokes are alike at first: their sum grows with the
    steps.
    """
    scaled(module)
    size = module.cell.size
    module.cell.gates.bias[size : 2 * size] = 1.0
    if module.window is not None:
        module.window.place.weight.mul_(0.1)
    if isinstance(module, Writer):
        module.head.weight.div_(sqrt(module.steps))
    return module

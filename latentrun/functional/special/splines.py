"""Cubic splines over even places: a smooth function that costs much is tabled once, and is then as smooth and
cheap."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

AT_ONCE = 64  # values of a function that is tabled
# First derivative from seven values at equal steps, at the first of them: of order 6.
ONE_SIDED = (-49 / 20, 6.0, -15 / 2, 20 / 3, -15 / 4, 6 / 5, -1 / 6)
# Powers of f in the weights of the four coefficients around a place f in [0, 1] between two knots.
BASIS = torch.tensor([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]], dtype=torch.float64) / 6


class Resident:
    """A fixed tensor that is copied once to every device that asks for it."""

    def __init__(self, values: Tensor):
        self._copies = {values.device: values}

    def on(self, device: torch.device) -> Tensor:
        if device not in self._copies:
            with torch.inference_mode(False):
                self._copies[device] = next(iter(self._copies.values())).to(device)
        return self._copies[device]


class Tabled:
    """f(x) for x in [0, high] by the cubic spline through its values at ``knots`` + 1 even places, float64;
    differentiable any number of times, as a spline is. ``f`` takes places ``(n,)``, float64 on the CPU.

    >>> table = Tabled(torch.cos, 3.0, knots=300)
    >>> table(torch.tensor([1.0, 2.0]))
    tensor([ 0.5403, -0.4161], dtype=torch.float64)
    """

    def __init__(self, f: Callable[[Tensor], Tensor], high: float, knots: int):
        self.high, self.knots = high, knots
        with torch.inference_mode(False), torch.no_grad():
            places = torch.linspace(0, high, knots + 1, dtype=torch.float64)
            values = torch.cat([f(part) for part in places.split(AT_ONCE)])
            self.coefficients = Resident(spline(values.unsqueeze(1), high / knots).squeeze(1))

    def __call__(self, x: Tensor) -> Tensor:
        """f, float64, of any shape."""
        start, within = place(x.double() * (self.knots / self.high), self.knots)
        near = start.unsqueeze(-1) + torch.arange(4, device=x.device)
        weights = powers(within) @ BASIS.to(x.device).mT
        return (weights * self.coefficients.on(x.device)[near]).sum(-1)


def place(position: Tensor, knots: int) -> tuple[Tensor, Tensor]:
    """The interval a position lies in, int64, and where in it, in [0, 1].

    >>> place(torch.tensor([2.25, 9.0]), knots=8)
    (tensor([2, 7]), tensor([0.2500, 1.0000]))
    """
    position = position.clamp(0, knots)
    # What is no number stays none, but names no interval.
    start = position.detach().nan_to_num().floor().clamp(max=knots - 1)
    return start.long(), position - start


def powers(f: Tensor) -> Tensor:
    """1, f, f², f³ ``(*f.shape, 4)``."""
    return torch.stack([torch.ones_like(f), f, f * f, f * f * f], dim=-1)


def spline(values: Tensor, step: float) -> Tensor:
    """Coefficients ``(n + 3, m)`` of the cubic splines through ``values (n + 1, m)`` at equal steps, with the
    slopes at both ends that the values there have."""
    n = len(values) - 1
    ends = torch.tensor(ONE_SIDED, dtype=values.dtype)
    slopes = torch.stack([ends @ values[:7], -(ends @ values.flip(0)[:7])]) / step
    matrix = torch.zeros(n + 3, n + 3, dtype=values.dtype)
    inner = torch.arange(n + 1)
    for offset, weight in enumerate((1 / 6, 4 / 6, 1 / 6)):
        matrix[inner + 1, inner + offset] = weight
    matrix[0, 0], matrix[0, 2] = -0.5 / step, 0.5 / step
    matrix[-1, -3], matrix[-1, -1] = -0.5 / step, 0.5 / step
    return torch.linalg.solve(matrix, torch.cat([slopes[:1], values, slopes[1:]]))

"""Rows taken evenly from many, and points that stand for equal shares."""

from __future__ import annotations

import torch
from torch import Tensor

GRIDS = 3  # dimensions of which integrals are sums over points that fill them evenly


def evenly(total: int, n: int) -> Tensor:
    """Numbers ``(min(n, total),)`` of the rows 0 ... total - 1, evenly spaced, the first and the last among
    them; int64 on the CPU.

    >>> evenly(10, 4), evenly(2, 4)
    (tensor([0, 3, 6, 9]), tensor([0, 1]))
    """
    return torch.linspace(0, total - 1, min(n, total)).round().long()


def middles(n: int) -> Tensor:
    """The middles ``(n,)`` of n equal parts of [0, 1], float64 on the CPU.

    >>> middles(2)
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def lattice(n: int, dims: int) -> Tensor:
    """n points ``(n, dims)`` float64 that fill the unit cube evenly: the middles of n equal parts along the
    first dimension, and along the others the fractions of multiples of irrational numbers, the powers of
    1 / g, g^dims = g + 1 (Niederreiter 1992, ch. 3 and 5; of two dimensions g is the golden ratio, and on a
    sphere they are the Fibonacci lattice).

    >>> lattice(2, 2)
    tensor([[0.2500, 0.3090],
            [0.7500, 0.9271]], dtype=torch.float64)
    """
    step, g = torch.arange(n, dtype=torch.float64) + 0.5, 1.0
    for _ in range(60):
        g = (1 + g) ** (1 / dims)
    others = [(step * g**-power).frac() for power in range(1, dims)]
    return torch.stack([middles(n), *others], dim=1)

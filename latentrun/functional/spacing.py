"""Rows taken evenly from many, and points that stand for equal shares."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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


def normal_grid(n: int, dims: int) -> Tensor:
    """Points ``(m, dims)`` float64 that stand for equal shares of N(0, I): products of the middles of equal
    shares along each of one or two dimensions, as many along each; m is n, or the next square.

    >>> normal_grid(2, 1)
    tensor([[-0.6745],
            [ 0.6745]], dtype=torch.float64)
    >>> len(normal_grid(5, 2))
    9
    """
    side = math.ceil(n ** (1 / dims) - 1e-9)
    line = torch.special.ndtri(middles(side))
    return torch.cartesian_prod(*[line] * dims).view(-1, dims)

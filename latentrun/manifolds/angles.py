"""Angles as points of the circle and back, where charts need them: exact at seams, finite at poles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TURN = 2 * math.pi


def share(y: Tensor, x: Tensor, period: float = TURN) -> Tensor:
    """The angle of the points (x, y) as a share of ``period`` in [0, 1).

    >>> share(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 0.0]))
    tensor([0.2500, 0.7500])
    """
    somewhere = (x != 0) | (y != 0)  # else there is no angle, and no gradient
    angle = torch.atan2(
        torch.where(somewhere, y, torch.zeros_like(y)), torch.where(somewhere, x, torch.ones_like(x))
    )
    u = torch.remainder(angle / period, 1.0)
    # The remainder of a small negative number is rounded to 1.
    return torch.where(u < 1, u, torch.zeros_like(u))


def wrap(angle: Tensor, period: float = TURN) -> Tensor:
    """The representative in [-period / 2, period / 2] of angles modulo ``period``."""
    return angle - period * torch.round(angle / period)


def direction(h: Tensor) -> Tensor:
    """Unit vectors along ``h (..., d)``, of any size in floating point; along the first axis where h = 0.

    >>> direction(torch.tensor([[3e4, 4e4], [3e-30, 4e-30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.6000, 0.8000],
            [1.0000, 0.0000]])
    """
    largest = h.detach().abs().amax(-1, keepdim=True)
    axis = torch.zeros_like(h)
    axis[..., 0] = 1
    return F.normalize(torch.where(largest > 0, h / torch.where(largest > 0, largest, 1), axis), dim=-1)


def root(x: Tensor) -> Tensor:
    """The square root of ``x`` >= 0 with a finite gradient at 0, where it is the machine's precision."""
    return x.clamp_min(torch.finfo(x.dtype).eps ** 2).sqrt()


def length(v: Tensor) -> Tensor:
    """Euclidean length of the last axis, its gradient 0 at 0 under every transform."""
    squares = v.square().sum(-1)
    there = squares > 0
    return torch.where(there, torch.where(there, squares, 1.0).sqrt(), 0.0)

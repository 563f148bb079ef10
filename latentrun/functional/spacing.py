"""Rows taken evenly from many."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly(total: int, n: int) -> Tensor:
    """Numbers ``(min(n, total),)`` of the rows 0 ... total - 1, evenly spaced, the first and the last among
    them; int64 on the CPU.

    >>> evenly(10, 4), evenly(2, 4)
    (tensor([0, 3, 6, 9]), tensor([0, 1]))
    """
    return torch.linspace(0, total - 1, min(n, total)).round().long()

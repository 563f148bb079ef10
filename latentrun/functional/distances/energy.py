"""The energy distance between two sets of examples."""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 32  # columns up to which distances are taken coordinate by coordinate: small ones lose no digits


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| ``()`` of rows ``x (m, ...)`` and ``y (n, ...)``, m and n >= 2, in
    the unit of the rows: 0 where and only where the laws are equal (Székely & Rizzo 2013, J. Stat. Plan.
    Inference 143, 1249, eq. 5, without their square). Means over different rows: unbiased, and so at times
    negative. Nothing has to be chosen, and distances weigh modes far from each other most.

    >>> energy_distance(torch.zeros(3, 1), torch.full((2, 1), 2.0))
    tensor(4.)
    """
    x, y = x.flatten(1), y.flatten(1)
    mode = "donot_use_mm_for_euclid_dist" if x.shape[1] <= FEW else "use_mm_for_euclid_dist_if_necessary"

    def within(rows: Tensor) -> Tensor:
        total = torch.cdist(rows, rows, compute_mode=mode).fill_diagonal_(0.0).sum()
        return total / (len(rows) * (len(rows) - 1))

    return 2 * torch.cdist(x, y, compute_mode=mode).mean() - within(x) - within(y)

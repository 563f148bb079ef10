"""Distances between two sets of codes that can be descended: kernel discrepancies and sliced Wasserstein."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kernel = Literal["imq", "rbf"]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||² ``(m, n)`` of rows ``(m, d)`` and ``(n, d)``; with a gradient where rows are equal."""
    squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1)
    return (squares - 2 * x @ y.mT).clamp_min(0)


def spread(z: Tensor) -> Tensor:
    """The mean squared distance ``()`` between two independent draws of the law of ``z (n, d)``: 2 tr Cov. Of
    N(0, I) it is 2 d, the scale C of the kernels in Tolstikhin et al. 2018 (section 4).

    >>> spread(torch.tensor([[1.0], [-1.0]]))
    tensor(2.)
    """
    return 2 * (z - z.mean(0)).square().sum(-1).mean()


def kernel_of(squared: Tensor, kernel: Kernel, width: Tensor, scales: Sequence[float]) -> Tensor:
    """k of squared distances ``(...)``, the mean over ``scales`` s of, with C = s ``width``: ``imq`` C / (C +
    r²), ``rbf`` exp(-r² / C).

    >>> kernel_of(torch.tensor([0.0, 2.0]), "imq", torch.tensor(2.0), [1.0])
    tensor([1.0000, 0.5000])
    """
    total = torch.zeros_like(squared)
    for scale in scales:  # one after the other: a last axis of them would take several times as long
        share = squared / (scale * width)
        total = total + (torch.exp(-share) if kernel == "rbf" else 1 / (1 + share))
    return total / len(scales)


def mmd2(x: Tensor, y: Tensor, kernel: Kernel, width: Tensor, scales: Sequence[float]) -> Tensor:
    """MMD² ``()`` of rows ``x (m, d)`` and ``y (n, d)``, m and n >= 2: the U-statistic of Gretton et al. 2012
    (JMLR 13), eq. 3, unbiased and so at times negative; at most 2. With gradients, for training; with
    intervals :func:`latentrun.functional.distances.two_sample.mmd2`.

    >>> x, far = torch.zeros(3, 1), torch.full((3, 1), 1e3)
    >>> mmd2(x, far, "rbf", torch.tensor(1.0), [1.0])
    tensor(2.)
    """

    def within(z: Tensor) -> Tensor:
        k = kernel_of(squared_distances(z, z), kernel, width, scales)
        return (k.sum() - k.diagonal().sum()) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * kernel_of(squared_distances(x, y), kernel, width, scales).mean()


def sliced_wasserstein2(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """Squared sliced 2-Wasserstein distance ``()`` of rows ``x (n, d)`` and as many ``y (n, d)``: the mean of
    W2² between their projections, which is the mean squared difference of sorted ones, over ``directions (k,
    d)``, made unit vectors (Kolouri et al. 2018, arXiv 1804.01947, eq. 13). In squared units of the rows.

    >>> sliced_wasserstein2(torch.zeros(3, 1), torch.full((3, 1), 2.0), torch.ones(1, 1))
    tensor(4.)
    """
    unit = F.normalize(directions, dim=-1)
    along_x, along_y = ((rows @ unit.mT).sort(dim=0).values for rows in (x, y))
    return (along_x - along_y).square().mean()

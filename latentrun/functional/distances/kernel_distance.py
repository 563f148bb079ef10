"""Kernel distance of features (KID): unbiased MMD² with a polynomial kernel, over blocks of rows."""

from __future__ import annotations

import torch
from scipy.special import stdtrit
from torch import Tensor

from latentrun.functional.statistics.methods import STUDENT
from latentrun.types import Estimate


def polynomial_mmd2(x: Tensor, y: Tensor) -> Tensor:
    """MMD²_u of B pairs of sets ``(B, m, d)``, m >= 2, with k(a, b) = (a·b / d + 1)³: ``(B,)`` float64,
    unbiased.

    The U-statistic of Gretton et al. 2012 (JMLR 13), eq. 3
    (:func:`latentrun.functional.distances.two_sample.mmd2` has it for Gaussian kernels); kernel: Bińkowski et
    al. 2018, arXiv 1801.01401. It sees differences in the first three moments of the features alone, has the
    cube of their squared unit, and depends on where their origin lies.

    >>> polynomial_mmd2(torch.zeros(1, 2, 1), torch.ones(1, 2, 1))  # k = 1, 8 within and 1 between: 1 + 8 - 2
    tensor([7.], dtype=torch.float64)
    """
    x, y = x.double(), y.double()
    m, d = x.shape[-2:]

    def total(a: Tensor, b: Tensor, diagonal: bool) -> Tensor:
        kernel = (a @ b.mT / d + 1) ** 3
        return kernel.sum((-2, -1)) - (0 if diagonal else kernel.diagonal(dim1=-2, dim2=-1).sum(-1))

    return (total(x, x, False) + total(y, y, False)) / (m * (m - 1)) - 2 * total(x, y, True) / m**2


def kid(x: Tensor, y: Tensor, blocks: int) -> Estimate:
    """Mean of MMD²_u over disjoint blocks of two sets of equal size ``(m, d)`` in random order, m >= 2
    ``blocks``; up to ``blocks`` - 1 rows are left over. 0 on average where the distributions are equal,
    whatever m is.

    Interval: Student's over the blocks, which are independent; none for one block.
    """
    size = len(x) // blocks
    pairs = zip(x.split(size), y.split(size), strict=True)
    # Kernel matrices of one block at a time.
    values = torch.stack([polynomial_mmd2(a, b) for a, b in list(pairs)[:blocks]])
    value = values.mean().item()
    if blocks < 2:
        return Estimate(value, method="none: one block")
    half = float(stdtrit(blocks - 1, 0.975)) * values.std().item() / blocks**0.5
    return Estimate(value, value - half, value + half, f"{STUDENT} over blocks of examples")

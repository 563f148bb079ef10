"""Pairs of points that lie apart while their images under a map nearly coincide."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 2048  # rows and columns of a block of pairs


def collisions(y: Tensor, x: Tensor, beyond: float) -> tuple[Tensor, Tensor]:
    """For every row i the least of ||x_i - x_j|| / ||y_i - y_j|| over all rows j with ||y_i - y_j|| >=
    ``beyond`` > 0, and that j.

    ``y (N, F)`` arguments, ``x (N, ...)`` their images, each in its own unit. Ratios ``(N,)`` float64,
    infinite where no row is so far; rows ``(N,)`` int64, -1 there. A map that sends two such rows to one
    image has the ratio 0; closer pairs are what the singular values of its Jacobian speak of.

    The j are chosen by |x_i|² + |x_j|² - 2 x_i·x_j in float32, their ratios taken again as differences in
    float64. Rows that could, within that rounding, hold the least ratio of all are searched again in float64:
    the least of all is exact.

    >>> y, x = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [0.5]])  # a fold
    >>> collisions(y, x, beyond=1.0)
    (tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64), tensor([2, 2, 0]))
    """
    y, x = y.double(), x.flatten(1).double()
    x = x - x.mean(0)
    single, squares = x.float(), x.square().sum(1)
    best = torch.full((len(y),), torch.inf, device=y.device)
    partner = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    for i in range(0, len(y), SIDE):  # over blocks of pairs, each pair once
        for j in range(i, len(y), SIDE):
            a, b = slice(i, i + SIDE), slice(j, j + SIDE)
            near = torch.addmm(squares[b].float(), single[a], single[b].T, alpha=-2)
            ratio = _ratios(near.add_(squares[a, None].float()), y[a], y[b], beyond)
            for rows, offset, part in ((a, j, ratio), (b, i, ratio.T))[: 1 + (i != j)]:
                value, where = part.min(1)
                partner[rows] = torch.where(value < best[rows], where + offset, partner[rows])
                best[rows] = torch.minimum(value, best[rows])
    ratio = _exact(y, x, y, x, partner).masked_fill(best.isinf(), torch.inf)
    # Rounding of a product of D terms grows like sqrt(D); 8 leaves room for the sum of squares.
    error = 8 * torch.finfo(torch.float32).eps * x.shape[1] ** 0.5 * 2 * squares.max() / beyond**2
    doubtful = (best.double() - error < ratio.min().square()).nonzero()[:, 0]
    for rows in doubtful.split(SIDE):
        near = torch.addmm(squares, x[rows], x.T, alpha=-2).add_(squares[rows, None])
        partner[rows] = _ratios(near, y[rows], y, beyond).argmin(1)
        ratio[rows] = _exact(y[rows], x[rows], y, x, partner[rows])
    return ratio, partner.masked_fill(ratio.isinf(), -1)


def _ratios(near: Tensor, a: Tensor, b: Tensor, beyond: float) -> Tensor:
    """Squared distances ``near (A, B)`` of images over those of their arguments ``a (A, F)``, ``b (B, F)``,
    infinite for pairs closer than ``beyond``; overwrites ``near``."""
    apart = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    close = apart < beyond * (1 - 1e-9)  # a step of a grid that is just as long is not lost to rounding
    return near.clamp_min_(0).div_(apart.square_()).masked_fill_(close, torch.inf)


def _exact(a: Tensor, x: Tensor, b: Tensor, y: Tensor, partner: Tensor) -> Tensor:
    """||x_i - y_p|| / ||a_i - b_p|| for the partner p of each i."""
    return (x - y[partner]).norm(dim=1) / (a - b[partner]).norm(dim=1)

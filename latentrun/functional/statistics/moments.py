"""Shape of a distribution of numbers: moments and percentiles of many samples at once."""

from __future__ import annotations

import torch
from torch import Tensor


def central_powers(values: Tensor) -> Tensor:
    """``values (N,)`` to ``(N, 4)``: powers 1 to 4 of (value - mean) / sd, the columns whose means give
    :func:`shape_statistics`."""
    values = values.double()
    centred = values - values.mean()
    sd = centred.square().mean().sqrt()
    unit = centred / torch.where(sd > 0, sd, torch.ones_like(sd))
    return torch.stack([unit, unit**2, unit**3, unit**4], dim=1)


def shape_statistics(means: Tensor) -> Tensor:
    """Standard deviation, skewness, excess kurtosis ``(B, 3)`` from mean powers 1 to 4 ``(B, 4)``.

    Divisor N throughout: g1 = m3 / m2^1.5, g2 = m4 / m2^2 - 3 (0 for a normal), as scipy.stats with
    bias=True. sd is in the unit of the powers. NaN where nothing varies.

    >>> shape_statistics(torch.tensor([[0.0, 1.0, 0.0, 3.0]]))  # the moments of a standard normal
    tensor([[1., 0., 0.]])
    """
    p1, p2, p3, p4 = means.unbind(1)
    m2 = (p2 - p1**2).clamp_min(0)
    m3 = p3 - 3 * p1 * p2 + 2 * p1**3
    m4 = p4 - 4 * p1 * p3 + 6 * p1**2 * p2 - 3 * p1**4
    return torch.stack([m2.sqrt(), m3 / m2**1.5, m4 / m2**2 - 3], dim=1)


def percentiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Percentiles (shares in [0, 1]) of each row of ``(B, N)``: ``(B, len(shares))``, interpolated linearly
    as numpy does.

    >>> percentiles(torch.tensor([[0.0, 10.0, 20.0]]), (0.5, 0.75))
    tensor([[10., 15.]])
    """
    ordered = values.sort(dim=-1).values
    at = torch.tensor(shares, dtype=torch.float64, device=values.device) * (values.shape[-1] - 1)
    below = at.floor().long()
    above = (below + 1).clamp_max(values.shape[-1] - 1)
    return torch.lerp(ordered[..., below], ordered[..., above], (at - below).to(values.dtype))

"""Which latent variables are in use: the one meaning of active, inactive and doubtful."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ACTIVE, INACTIVE, DOUBTFUL = "active", "inactive", "doubtful"


@dataclass(frozen=True)
class Usage:
    """What d latent variables do, each ``(d,)``: ``var_mean`` = var(mu_i) and ``mean_scale2`` = mean
    sigma_i², population moments over examples; ``gain``: how much the squared error, summed over data
    dimensions, grows with variable i at 0, mean over examples, None where it was not measured."""

    var_mean: Tensor
    mean_scale2: Tensor
    gain: Tensor | None = None


@dataclass(frozen=True)
class Limits:
    """An inactive variable has a mean sigma² above ``scale2``, a var(mu) below ``variance`` and a gain of at
    most ``gain`` either way, in squared data units."""

    scale2: float
    variance: float
    gain: float = 0.0


def ignored(usage: Usage, limits: Limits) -> Tensor:
    """``(d,)`` whether the decoder hardly reads a variable, whatever its posterior; ValueError where its gain
    was not measured."""
    if usage.gain is None:
        raise ValueError("the gain was not measured")
    return usage.gain.abs() <= limits.gain


def classify(usage: Usage, limits: Limits, by_moments: bool = True) -> np.ndarray:
    """``(d,)`` ``inactive`` where all criteria say so, ``active`` where none does, else ``doubtful``.

    The criteria are the two of the posterior, where they mean something (``by_moments``), and the gain, where
    it was measured.

    >>> usage = Usage(torch.tensor([0.9, 0.0, 0.0]), torch.tensor([0.1, 1.0, 0.2]))
    >>> classify(usage, Limits(scale2=0.8, variance=0.05)).tolist()
    ['active', 'inactive', 'doubtful']
    """
    votes = [] if usage.gain is None else [ignored(usage, limits)]
    if by_moments:
        votes += [usage.mean_scale2 > limits.scale2, usage.var_mean < limits.variance]
    every = torch.stack(votes)
    return np.where(every.all(0).cpu(), INACTIVE, np.where(every.any(0).cpu(), DOUBTFUL, ACTIVE))

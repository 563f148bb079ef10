"""Divergences between a posterior and the prior, per latent variable. Pure tensor maths, safe under
``torch.func``."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_kl(mean: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(mean, sigma^2) || N(0, 1)) of every variable, in nats, summed over nothing.

    ``(mean^2 + sigma^2 - 1 - ln sigma^2) / 2`` with ``sigma = exp(log_scale)`` (Kingma & Welling 2013,
    appendix B). Shapes: ``mean`` and ``log_scale (..., d)`` to ``(..., d)``; non-negative up to rounding,
    zero at (0, 0). ``expm1`` keeps the digits near the prior, where ``sigma^2 - 1`` would lose them (what is
    left of an inactive variable).

    >>> gaussian_kl(torch.tensor([0.0, 2.0]), torch.zeros(2))
    tensor([0., 2.])
    """
    log_variance = 2 * log_scale
    return (mean.square() + torch.expm1(log_variance) - log_variance) / 2


def quadratic_penalty(mean: Tensor) -> Tensor:
    """``mean^2 / 2`` of every variable, in nats, summed over nothing: ``(..., d)`` to ``(..., d)``.

    The part of :func:`gaussian_kl` that depends on the mean: all that is left when sigma is fixed at 1, or of
    a model trained without sampling.

    >>> quadratic_penalty(torch.tensor([0.0, 2.0]))
    tensor([0., 2.])
    """
    return mean.square() / 2

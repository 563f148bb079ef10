"""What a critic and a generator play for, and what keeps the critic's slopes in bounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

Game = Literal["non_saturating", "wgan_gp", "hinge"]


def critic_loss(game: Game, real: Tensor, made: Tensor) -> Tensor:
    """What the critic pays ``()`` for its values f ``(B, 1)`` of examples and of made ones, mean over either.

    ``non_saturating``: E softplus(-f(x)) + E softplus(f(g)), the binary cross-entropy of both in nats, 2 log
    2 where it can but guess (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1). ``wgan_gp``: E f(g) - E f(x)
    (Arjovsky et al. 2017, arXiv 1701.07875, eq. 2). ``hinge``: E max(0, 1 - f(x)) + E max(0, 1 + f(g)) (Lim &
    Ye 2017, arXiv 1705.02894).

    >>> critic_loss("wgan_gp", torch.tensor([[2.0]]), torch.tensor([[0.5]]))
    tensor(-1.5000)
    """
    if game == "non_saturating":
        return F.softplus(-real).mean() + F.softplus(made).mean()
    if game == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + made).mean()
    return made.mean() - real.mean()


def generator_loss(game: Game, made: Tensor) -> Tensor:
    """What the generator pays ``()`` for the critic's values f ``(B, 1)`` of what it makes, mean over them:
    E softplus(-f(g)), which does not saturate where the critic is sure (Goodfellow et al. 2014, section 3),
    else -E f(g).

    >>> generator_loss("non_saturating", torch.zeros(3, 1))  # log 2
    tensor(0.6931)
    """
    return F.softplus(-made).mean() if game == "non_saturating" else -made.mean()


def squared_slopes(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """||∇f(x)||² ``(B,)`` of a critic from rows ``(B, ...)`` to ``(B, 1)``, each row's value depending on it
    alone; differentiable with respect to the critic's weights.

    >>> squared_slopes(lambda x: 3 * x[:, :1] + 4 * x[:, 1:], torch.zeros(2, 2))
    tensor([25., 25.])
    """
    # The first derivative of a process lets torch compile with what it has itself deprecated.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return grad(lambda rows: critic(rows).sum())(x).flatten(1).square().sum(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """E (||∇f|| - 1)² ``()`` at the points share x + (1 - share) g on the lines between examples and made
    ones ``(B, ...)``, with ``share (B,)`` in [0, 1] (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    >>> f = lambda x: 3 * x[:, :1] + 4 * x[:, 1:]
    >>> gradient_penalty(f, torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([0.0, 0.5]))  # (5 - 1)²
    tensor(16.)
    """
    share = share.view(-1, *[1] * (real.ndim - 1))
    between = share * real + (1 - share) * made
    # The root has no slope where a critic is flat: the smallest number keeps its gradient finite.
    norm = squared_slopes(critic, between).clamp_min(torch.finfo(real.dtype).tiny).sqrt()
    return (norm - 1).square().mean()

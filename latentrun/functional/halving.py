"""Steps of many searches at once, each shortened by itself until it gets better."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Of the searches rows (n,), after a share of their steps: the values (n,), and where they have come to as
# tensors (n, ...).
Attempt = Callable[[Tensor, float], tuple[Tensor, tuple[Tensor, ...]]]


def halved(
    value: Tensor, place: tuple[Tensor, ...], attempt: Attempt, halvings: int
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """The first of the shares 1, 1/2, 1/4, ... of each step, ``halvings`` in all, after which its ``value
    (N,)`` is lower.

    Which searches have found one ``(N,)`` bool, their values ``(N,)`` and places ``(N, ...)``; those of the
    others are as they were given.

    >>> def attempt(rows, share):  # from 1, a step of -4 that goes too far down x²
    ...     x = torch.tensor([1.0])[rows] - 4 * share
    ...     return x.square(), (x,)
    >>> halved(torch.tensor([1.0]), (torch.tensor([1.0]),), attempt, 5)
    (tensor([True]), tensor([0.]), (tensor([0.]),))
    """
    value, place, share = value.clone(), tuple(each.clone() for each in place), 1.0
    found = torch.zeros(len(value), dtype=torch.bool, device=value.device)
    for _ in range(halvings):
        rows = (~found).nonzero()[:, 0]
        tried, reached = attempt(rows, share)
        better = tried < value[rows]
        value[rows[better]] = tried[better]
        for each, new in zip(place, reached, strict=True):
            each[rows[better]] = new[better]
        found[rows[better]] = True
        share *= 0.5
        if found.all():
            break
    return found, value, place

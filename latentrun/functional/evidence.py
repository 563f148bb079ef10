"""Lower bounds of log p(x) from weighed draws, and integrals over points of equal mass, streamed: what is
held does not grow with the number of draws or points.

The weight of a draw z ~ q(z|x) is w = p(x|z) p(z) / q(z|x), whose mean is p(x); log w in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


class RunningBound:
    """L_K = E log (1/K) sum_k w_k of N examples (Burda et al. 2016, arXiv 1509.00519, eq. 8): the mean over
    disjoint groups of K draws, as they come in blocks of any size; draws of a last group that is not full
    count for nothing.

    >>> bound = RunningBound(2, n=1)
    >>> bound.add(torch.tensor([[1.0], [3.0], [2.0], [2.0]]).log())  # two groups, both of mean 2
    >>> bound.value.exp()
    tensor([2.0000], dtype=torch.float64)
    """

    def __init__(self, size: int, n: int, device: torch.device | str = "cpu"):
        self.size, self.groups, self._filled = size, 0, 0
        self._total = torch.zeros(n, dtype=torch.float64, device=device)
        self._open = torch.full_like(self._total, -torch.inf)

    def add(self, log_weight: Tensor) -> None:
        """The next draws ``(B, N)``, in nats."""
        log_weight = log_weight.double()
        begun = min(self.size - self._filled, len(log_weight)) if self._filled else 0
        if begun:
            self._extend(log_weight[:begun])
        whole = (len(log_weight) - begun) // self.size
        rest = begun + whole * self.size
        if whole:
            groups = log_weight[begun:rest].unflatten(0, (whole, self.size)).logsumexp(1)
            self._total += groups.sum(0) - whole * math.log(self.size)
            self.groups += whole
        if rest < len(log_weight):
            self._extend(log_weight[rest:])

    def _extend(self, log_weight: Tensor) -> None:
        """The group that is not full yet, by no more than it lacks."""
        self._open = torch.logaddexp(self._open, log_weight.logsumexp(0))
        self._filled += len(log_weight)
        if self._filled == self.size:
            self._total += self._open - math.log(self.size)
            self.groups += 1
            self._filled, self._open = 0, torch.full_like(self._open, -torch.inf)

    @property
    def value(self) -> Tensor:
        """L_K ``(N,)`` in nats; NaN before the first group is full."""
        return self._total / self.groups if self.groups else torch.full_like(self._total, torch.nan)


class RunningWeights:
    """What all draws of N examples say of log p(x), streamed: bounds for every size of group in ``sizes``,
    the number of draws that carry the mean, and how far the bound of all is expected to lie below log
    p(x)."""

    def __init__(self, sizes: list[int], n: int, device: torch.device | str = "cpu"):
        self.draws = 0
        self.bounds = {size: RunningBound(size, n, device) for size in sizes}
        self._sum = torch.full((n,), -torch.inf, dtype=torch.float64, device=device)
        self._squares = self._sum.clone()

    def add(self, log_weight: Tensor) -> None:
        """The next draws ``(B, N)``, in nats."""
        log_weight = log_weight.double()
        for bound in self.bounds.values():
            bound.add(log_weight)
        self.draws += len(log_weight)
        self._sum = torch.logaddexp(self._sum, log_weight.logsumexp(0))
        self._squares = torch.logaddexp(self._squares, (2 * log_weight).logsumexp(0))

    @property
    def effective(self) -> Tensor:
        """(sum w)² / sum w² ``(N,)``, from 1 (one draw carries everything) to the number of draws; 0 where
        all weights are 0."""
        return torch.where(self._sum == -torch.inf, 0.0, (2 * self._sum - self._squares).exp())

    @property
    def bias(self) -> Tensor:
        """log p(x) less the bound of all K draws ``(N,)`` in nats, >= 0, to first order in 1/K: Var w / (2 K
        p(x)²) (Nowozin 2018, ICLR, proposition 1) with the variance (divisor K) of these very draws. That is
        ½ (1 / effective - 1 / K), at most ½: far too small where few draws carry the mean, and blind
        to what no draw has met. Infinite where all weights are 0."""
        return (0.5 * (1 / self.effective - 1 / self.draws)).clamp_min(0)


# ---------------------------------------------------------------- integrals over points of equal mass
@dataclass(frozen=True)
class Quadrature:
    """log p(x) ``value (N,)`` in nats as a mean over ``points``; ``change (N,)``: how far it moved when their
    number was last doubled, infinite where that was not done."""

    value: Tensor
    change: Tensor
    points: int


def log_mean(log_density: Callable[[Tensor], Tensor], points: Tensor, block: int) -> Tensor:
    """log (1/n) sum_j exp log_density(point_j) ``(N,)`` float64, of ``points (n, ...)`` in blocks of at most
    ``block``; ``log_density`` maps ``(B, ...)`` to ``(N, B)`` in nats."""
    total = None
    for part in points.split(block):
        step = log_density(part).double().logsumexp(1)
        total = step if total is None else torch.logaddexp(total, step)
    if total is None:
        raise ValueError("a mean over no points")
    return total - math.log(len(points))


def doubled(value: Callable[[int], Tensor], first: int, most: int, tolerance: float) -> Quadrature:
    """``value(n) (N,)`` for n = ``first``, twice that, ..., until none of the N moves by ``tolerance`` any
    more, or the next n were above ``most``.

    >>> doubled(lambda n: torch.tensor([1 / n]), first=1, most=64, tolerance=0.1)
    Quadrature(value=tensor([0.0625]), change=tensor([0.0625]), points=16)
    """
    n, now = first, value(first)
    change = torch.full_like(now, torch.inf)
    while 2 * n <= most and not bool((change < tolerance).all()):
        n, before = 2 * n, now
        now = value(n)
        # Where both are -inf nothing moved.
        change = torch.where(now == before, 0.0, (now - before).abs())
    return Quadrature(now, change, n)

"""Fréchet distance between Gaussian fits of two sets of rows, from running moments: memory does not grow with
the sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from scipy.special import stdtrit
from torch import Tensor

from latentrun.types import Estimate


@dataclass(frozen=True)
class GaussianFit:
    """Moments of n rows, float64: ``mean (d,)`` and ``scatter (d, d)`` = sum of (x - mean)(x - mean)'."""

    n: int
    mean: Tensor
    scatter: Tensor

    @property
    def covariance(self) -> Tensor:
        """``(d, d)``, divisor n - 1."""
        return self.scatter / (self.n - 1)


def gaussian_fit(chunks: Iterable[Tensor]) -> GaussianFit:
    """Moments of all rows of non-empty ``chunks (N_i, d)``, of which one is held at a time."""
    return joined(map(_of, chunks))


def joined(parts: Iterable[GaussianFit]) -> GaussianFit:
    """The moments of the union of disjoint sets; no cancellation of large squares. Chan, Golub & LeVeque
    1983, eq. 2.1."""
    return reduce(_pair, parts)


def _of(rows: Tensor) -> GaussianFit:
    rows = rows.double()
    mean = rows.mean(0)
    centred = rows - mean
    return GaussianFit(len(rows), mean, centred.T @ centred)


def _pair(a: GaussianFit, b: GaussianFit) -> GaussianFit:
    n, apart = a.n + b.n, b.mean - a.mean
    scatter = a.scatter + b.scatter + (a.n * b.n / n) * torch.outer(apart, apart)
    return GaussianFit(n, a.mean + apart * (b.n / n), scatter)


def root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite ``(d, d)``."""
    values, axes = torch.linalg.eigh(covariance)
    return axes * values.clamp_min(0).sqrt() @ axes.T


def frechet(first: GaussianFit, second: GaussianFit, first_root: Tensor | None = None) -> float:
    """Squared Fréchet (2-Wasserstein) distance of N(m1, C1) and N(m2, C2), in squared units of the rows,
    summed over d.

    |m1 - m2|² + tr C1 + tr C2 - 2 tr (C1^½ C2 C1^½)^½; Dowson & Landau 1982, eq. 4; as FID: Heusel et al.
    2017, arXiv 1706.08500. The last trace is the sum of the roots of the eigenvalues of a symmetric matrix:
    real, also where C1 and C2 are singular. ``first_root``: C1^½ where it is known.
    """
    inner = root(first.covariance) if first_root is None else first_root
    overlap = torch.linalg.eigvalsh(inner @ second.covariance @ inner).clamp_min(0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return max(0.0, ((first.mean - second.mean).square().sum() + traces - 2 * overlap).item())


@dataclass(frozen=True)
class Jackknife:
    """A ``value`` made of sets that are given as G > 1 disjoint groups of (nearly) equal size in random
    order, and ``without``: for each set what it is when one of its groups is left out, ``(G,)`` float64;
    ``()`` where there are no groups.

    Interval: value +- t sd with the sd of the jackknife that leaves out a group at a time, of any set (Efron
    & Tibshirani 1993, ch. 11; t with G - 1 degrees of freedom): for the mean of the value over samples *of
    this size*. A bootstrap would not do: repeated rows make resampled fits worse than the fits, and distances
    larger.
    """

    value: float
    without: tuple[Tensor, ...]

    def __sub__(self, other: Jackknife) -> Jackknife:
        """The difference, where group i of a set of one goes with group i of the other's: equal rows, or made
        of equal draws."""
        return Jackknife(
            self.value - other.value, tuple(a - b for a, b in zip(self.without, other.without, strict=True))
        )

    @property
    def half(self) -> float:
        """Half the 95 % interval."""
        variance = sum((len(each) - 1) * each.var(correction=0).item() for each in self.without)
        return float(stdtrit(min(map(len, self.without)) - 1, 0.975)) * variance**0.5

    @property
    def estimate(self) -> Estimate:
        """The value with its interval."""
        return (
            Estimate(self.value, self.value - self.half, self.value + self.half)
            if self.without
            else Estimate(self.value)
        )

    @property
    def corrected(self) -> Estimate | None:
        """Without the term in 1/n, which the distance of finite samples has (equal distributions have a
        positive one); with the same half width. It needs n well above d, and may be negative where the value
        may not."""
        if not self.without:
            return None
        value = self.value - sum((len(each) - 1) * (each.mean().item() - self.value) for each in self.without)
        return Estimate(value, value - self.half, value + self.half)


def frechet_jackknife(first: Sequence[GaussianFit], second: Sequence[GaussianFit]) -> Jackknife:
    """The distance of two sets, each given as groups; with one group only its value."""
    fits = [joined(first), joined(second)]
    roots = [root(fit.covariance) for fit in fits]
    without = []
    for parts, other, other_root in ((first, fits[1], roots[1]), (second, fits[0], roots[0])):
        left = (
            [joined(part for j, part in enumerate(parts) if j != i) for i in range(len(parts))]
            if len(parts) > 1
            else []
        )
        without.append(torch.tensor([frechet(other, fit, other_root) for fit in left], dtype=torch.float64))
    return Jackknife(frechet(*fits, roots[0]), tuple(without) if min(map(len, without)) else ())

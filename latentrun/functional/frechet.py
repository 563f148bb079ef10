"""Fréchet distance between Gaussian fits of two sets of rows, from running moments: memory does not grow with the sets."""

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
    """The moments of the union of disjoint sets; no cancellation of large squares. Chan, Golub & LeVeque 1983, eq. 2.1."""
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
    """Squared Fréchet (2-Wasserstein) distance of N(m1, C1) and N(m2, C2), in squared units of the rows, summed over d.

    |m1 - m2|² + tr C1 + tr C2 - 2 tr (C1^½ C2 C1^½)^½; Dowson & Landau 1982, eq. 4; as FID: Heusel et al. 2017, arXiv 1706.08500.
    The last trace is the sum of the roots of the eigenvalues of a symmetric matrix: real, also where C1 and C2 are singular.
    ``first_root``: C1^½ where it is known.
    """
    inner = root(first.covariance) if first_root is None else first_root
    overlap = torch.linalg.eigvalsh(inner @ second.covariance @ inner).clamp_min(0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return max(0.0, ((first.mean - second.mean).square().sum() + traces - 2 * overlap).item())


def frechet_estimate(first: Sequence[GaussianFit], second: Sequence[GaussianFit]) -> tuple[Estimate, Estimate | None]:
    """The distance of two sets, each given as G disjoint groups of (nearly) equal size in random order; and the same corrected
    for the size of the sets.

    The distance of two finite samples is too large, by an amount that falls like 1/n: equal distributions have a positive one.
    Interval of the first: value +- t sd with the sd of the jackknife that leaves out a group at a time, of either set
    (Efron & Tibshirani 1993, ch. 11; t with G - 1 degrees of freedom): for the mean of the distance over samples *of this
    size*. A bootstrap would not do: repeated rows make resampled fits worse than the fits, and the distance larger.
    ``corrected``: the jackknife's correction of the term in 1/n, with the same half width; it may be negative, and needs n well
    above d. With one group: no interval, no correction.
    """
    fits = [joined(first), joined(second)]
    roots = [root(fit.covariance) for fit in fits]
    value = frechet(*fits, roots[0])
    groups = min(len(first), len(second))
    if groups < 2:
        return Estimate(value), None
    variance = bias = 0.0
    for parts, other, other_root in ((first, fits[1], roots[1]), (second, fits[0], roots[0])):
        left = [joined(part for j, part in enumerate(parts) if j != i) for i in range(len(parts))]
        without = torch.tensor([frechet(other, fit, other_root) for fit in left], dtype=torch.float64)
        variance += (len(parts) - 1) * without.var(correction=0).item()
        bias += (len(parts) - 1) * (without.mean().item() - value)
    half = float(stdtrit(groups - 1, 0.975)) * variance**0.5
    return Estimate(value, max(0.0, value - half), value + half), Estimate(value - bias, value - bias - half, value - bias + half)

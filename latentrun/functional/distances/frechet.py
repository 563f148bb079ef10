"""Fréchet distance between Gaussian fits of two sets of rows, from running moments: memory does not grow with
the sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from scipy.special import stdtrit
from torch import Tensor

from latentrun.functional.statistics.methods import JACKKNIFE
from latentrun.types import Estimate

METHOD = f"{JACKKNIFE} over groups of examples"


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
    """Moments of all rows of non-empty ``chunks (N_i, d)``, of which one is held at a time.

    >>> fit = gaussian_fit([torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])])
    >>> fit.n, fit.mean.item(), fit.covariance.item()
    (3, 3.0, 7.0)
    """
    return joined(map(_of, chunks))


def joined(parts: Iterable[GaussianFit]) -> GaussianFit:
    """The moments of the union of disjoint sets; no cancellation of large squares. Chan, Golub & LeVeque
    1983, eq. 2.1."""
    return reduce(_pair, parts)


def _of(rows: Tensor) -> GaussianFit:
    """Moments of ``rows (N, d)``."""
    rows = rows.double()
    mean = rows.mean(0)
    centred = rows - mean
    return GaussianFit(len(rows), mean, centred.T @ centred)


def _pair(a: GaussianFit, b: GaussianFit) -> GaussianFit:
    """Moments of the union of two sets."""
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
    real, also where C1 and C2 are singular. ``first_root``: C1^½, where it is needed more than once.

    >>> rows = torch.tensor([[-1.0], [1.0]])
    >>> round(frechet(gaussian_fit([rows]), gaussian_fit([rows + 3])), 6)
    9.0
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
        variance = sum((len(values) - 1) * values.var(correction=0).item() for values in self.without)
        return float(stdtrit(min(map(len, self.without)) - 1, 0.975)) * variance**0.5

    @property
    def estimate(self) -> Estimate:
        """The value with its interval."""
        return self._around(self.value)

    @property
    def corrected(self) -> Estimate | None:
        """Without the term in 1/n, which the distance of finite samples has (equal distributions have a
        positive one); with the same half width. It needs n well above d, and may be negative where the value
        may not."""
        if not self.without:
            return None
        excess = ((len(values) - 1) * (values.mean().item() - self.value) for values in self.without)
        value = self.value - sum(excess)
        return self._around(value)

    def _around(self, value: float) -> Estimate:
        if not self.without:
            return Estimate(value, method="none: one group")
        if self.half == 0:
            return Estimate(value, method="none: equal without any of the groups")
        return Estimate(value, value - self.half, value + self.half, METHOD)


def frechet_jackknife(first: Sequence[GaussianFit], second: Sequence[GaussianFit]) -> Jackknife:
    """:func:`frechet` of two sets, each given as groups, in squared units of the rows; with one group only
    its value."""
    whole, other = joined(first), joined(second)
    whole_root, other_root = root(whole.covariance), root(other.covariance)
    value = frechet(whole, other, whole_root)
    without_first = [frechet(other, fit, other_root) for fit in _leave_one_out(first)]
    without_second = [frechet(whole, fit, whole_root) for fit in _leave_one_out(second)]
    if not without_first or not without_second:
        return Jackknife(value, ())
    values = (torch.tensor(part, dtype=torch.float64) for part in (without_first, without_second))
    return Jackknife(value, tuple(values))


def _leave_one_out(groups: Sequence[GaussianFit]) -> list[GaussianFit]:
    """The fits of all groups but one, for each of them; none where there is one group."""
    if len(groups) < 2:
        return []
    return [joined(fit for j, fit in enumerate(groups) if j != i) for i in range(len(groups))]

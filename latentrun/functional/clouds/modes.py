"""Which of the modes of a known law samples fall into: separate places around which data lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import CORRECTED_T, DELTA
from latentrun.types import Estimate

REACH = 3.0  # standard deviations from its mode up to which a sample is good


@dataclass(frozen=True)
class Sorted:
    """Of N samples the ``mode (N,)`` that is nearest to each, their ``distance (N,)`` from it, float64, and
    whether they are ``good (N,)``, no further than the radius."""

    mode: Tensor
    distance: Tensor
    good: Tensor

    def counts(self, k: int) -> Tensor:
        """Samples of each of k modes, good or not, ``(k,)``."""
        return self.mode.bincount(minlength=k)

    def good_counts(self, k: int) -> Tensor:
        """Good samples of each of k modes ``(k,)``."""
        return self.mode[self.good].bincount(minlength=k)


def sort_into(centres: Tensor, x: Tensor, radius: float) -> Sorted:
    """Samples ``x (N, D)`` by the nearest of ``centres (k, D)``.

    >>> sort_into(torch.tensor([[0.0], [5.0]]), torch.tensor([[0.1], [4.0], [5.2]]), 0.5).good
    tensor([ True, False,  True])
    """
    exact = "donot_use_mm_for_euclid_dist"
    near = torch.cdist(x.double(), centres.to(x.device).double(), compute_mode=exact).min(1)
    return Sorted(near.indices.cpu(), near.values.cpu(), (near.values <= radius).cpu())


def spread_of(x: Tensor, centres: Tensor, mode: Tensor) -> float:
    """The standard deviation of rows ``x (N, D)`` around the centre of the ``mode (N,)`` that each was drawn
    from, in the direction in which it is largest: sigma where they are normal with sigma² I, or with that in
    a plane of the data's space."""
    apart = x.double() - centres.to(x.device).double()[mode.to(x.device)]
    return float(torch.linalg.eigvalsh(apart.T @ apart / len(x))[-1].clamp_min(0).sqrt())


def unevenness(mode: Tensor, data: Tensor) -> Estimate:
    """KL(q || p) in nats of the shares q of samples in each of k modes, from their ``mode (N,)``, and those p
    of other examples, from ``data (k,)`` > 0, how many there are of each: what Lin et al. 2018 (arXiv
    1712.04086, section 4.1) call the reverse divergence. Less what counts of few exceed it by, (modes with
    samples - 1) / 2N and (k - 1) / 2 sum(data) (Miller 1955), so at times negative. The interval is that of
    the mean of log q / p over samples (delta method), as if p were known.

    >>> all_in_one = unevenness(torch.zeros(100, dtype=torch.int64), torch.tensor([10**9, 10**9]))
    >>> round(all_in_one.value, 4)  # log 2
    0.6931
    """
    counts = mode.bincount(minlength=len(data)).double()
    log_ratio = torch.log(counts / len(mode)) - torch.log(data.double() / data.sum())
    found = mean_interval(log_ratio[mode])
    excess = (int((counts > 0).sum()) - 1) / (2 * len(mode)) + (len(data) - 1) / (2 * int(data.sum()))
    low, high = (None if end is None else end - excess for end in (found.low, found.high))
    return Estimate(found.value - excess, low, high, found.method.replace(CORRECTED_T, DELTA))

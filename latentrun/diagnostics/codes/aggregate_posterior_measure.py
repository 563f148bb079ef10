"""What the mixture of all posteriors is, beside the prior: exact or drawn, by plain functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import CORRECTED_T, EXAMPLES
from latentrun.functional.statistics.mixtures import (
    covariance,
    gaussian_log_density,
    information,
    log_densities,
    marginal_log_densities,
)
from latentrun.types import Estimate

LEAST = 8  # examples, for the variance of the MMD
PARTS = (8, 4, 2, 1)  # the divergences are also taken of the first N / 8, N / 4, ... examples


@dataclass(frozen=True)
class Posteriors:
    """N posteriors with ``mean`` and ``scale (N, d)``, one code of each ``z (N, d)``, and as many draws from
    the prior, thrice: ``prior`` is compared with the codes, ``others`` with it, ``control`` stands in for
    ``prior`` where that is to be held against something. Float64."""

    mean: Tensor
    scale: Tensor
    z: Tensor
    prior: Tensor
    others: Tensor
    control: Tensor

    def in_variables(self, used: Tensor) -> Posteriors:
        """The same in some of the variables."""
        return Posteriors(*(values[:, used] for values in vars(self).values()))


def correlations(mean: Tensor, scale: Tensor) -> Tensor:
    """Of the variables under q(z), ``(d, d)``."""
    matrix = covariance(mean, scale)
    sd = matrix.diagonal().sqrt()
    return (matrix / sd / sd[:, None]).clamp(-1, 1)


@dataclass(frozen=True)
class Divergences:
    """Of the first ``n`` examples alone, in nats: mean KL to the prior, information about the example (a
    lower bound of the source's, and an upper one), KL of the aggregate."""

    n: int
    kl: Estimate
    information: Estimate
    information_upper: Estimate
    kl_aggregate: Estimate

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {name: value for name, value in vars(self).items() if name != "n"}

    def row(self) -> dict[str, float]:
        """A row of a table: ``n, log_n``, the estimates with their intervals."""
        row: dict[str, float] = {"n": self.n, "log_n": math.log(self.n)}
        for name, estimate in self.estimates.items():
            row |= estimate.columns(name)
        return row


def divergences(posteriors: Posteriors) -> list[Divergences]:
    """Of N / 8, N / 4, N / 2 and all N examples."""
    mean, scale, z = posteriors.mean, posteriors.scale, posteriors.z
    kl = gaussian_kl(mean, scale.log()).sum(1)
    found = []
    for n in sorted({len(z) // part for part in PARTS} - set(range(LEAST))):
        about_index, about_source = information(z[:n], mean[:n], scale[:n])
        lower, upper, mean_kl = (mean_interval(values) for values in (about_index, about_source, kl[:n]))
        # At most the mean KL; draws may put the lower bound itself a little above that.
        highest = max(mean_kl, lower, key=lambda e: e.value)
        upper = min(upper, highest, key=lambda e: e.value)
        found.append(Divergences(n, mean_kl, lower, upper, mean_interval(kl[:n] - about_index)))
    return found


def dependence_and_shape(posteriors: Posteriors, n: int) -> dict[str, Estimate]:
    """``total_correlation``, KL(q(z) || prod_i q(z_i)), and ``negentropy``, KL(q(z) || g) with the normal g
    of the moments of q(z), in nats; of the first n examples.

    Means over one z ~ q(z|x) an example of ln q(z) - sum_i ln q_i(z_i) and of ln q(z) - ln g(z), with the
    exact densities of the mixture of these n: without bias for it (Chen et al. 2018, arXiv 1802.04942, take
    minibatches and are biased). Of the source of the examples they say too much, for n posteriors leave
    gaps between them that theirs do not; densities without the example's own posterior say too little. The
    interval goes from the lower end of the one to the upper end of the other, so that it holds the source's:
    0 where that is normal, though every sample of it is lumpy. Neither can be negative: value and upper end
    are at least 0.
    """
    mean, scale, z = (values[:n] for values in (posteriors.mean, posteriors.scale, posteriors.z))
    joint, single = log_densities(z, mean, scale), marginal_log_densities(z, mean, scale)
    normal = gaussian_log_density(z, mean.mean(0), covariance(mean, scale))
    return {
        "total_correlation": between(joint[0] - single[0], joint[1] - single[1]),
        "negentropy": between(joint[0] - normal, joint[1] - normal),
    }


def between(whole: Tensor, others: Tensor) -> Estimate:
    """The mean of ``whole (n,)``, from the lower end of the interval of the mean of ``others`` to the upper
    one of its own, where a divergence may be: value and upper end are at least 0."""
    upper, lower = mean_interval(whole), mean_interval(others)
    value = max(upper.value, 0.0)
    if upper.high is None or lower.low is None:
        return Estimate(value, method=upper.method if upper.high is None else lower.method)
    low = min(lower.low, upper.value)
    method = f"{CORRECTED_T} over {EXAMPLES}, of a lower and an upper bound"
    return Estimate(value, low, max(upper.high, 0.0), method)


def gaps_to_nearest(posteriors: Posteriors) -> dict[str, Tensor]:
    """Distances ``(N,)`` of prior draws to codes, of codes to other codes, of prior draws to others, and of a
    third set of draws to these."""
    z, prior, others = posteriors.z, posteriors.prior, posteriors.others
    return {
        "prior_codes": nearest(prior, z, 1)[0][:, 0],
        "codes_codes": nearest(z, z, 1, same=True)[0][:, 0],
        "prior_prior": nearest(prior, others, 1)[0][:, 0],
        "control": nearest(posteriors.control, others, 1)[0][:, 0],
    }

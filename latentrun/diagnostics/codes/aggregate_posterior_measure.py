"""What the mixture of all posteriors is, beside the prior: exact or drawn, by plain functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.mixtures import component_log_density, covariance, log_densities

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


def divergences(posteriors: Posteriors) -> pd.DataFrame:
    """``n, kl, information, information_upper, kl_aggregate`` with intervals, of the first n examples
    alone."""
    mean, scale, z = posteriors.mean, posteriors.scale, posteriors.z
    posterior, kl = component_log_density(z, mean, scale), gaussian_kl(mean, scale.log()).sum(1)
    rows = []
    for n in sorted({len(z) // part for part in PARTS} - set(range(LEAST))):
        whole, others = log_densities(z[:n], mean[:n], scale[:n])
        information = posterior[:n] - whole
        estimates = {
            "kl": mean_interval(kl[:n]),
            "information": mean_interval(information),
            "information_upper": mean_interval(posterior[:n] - others),
            "kl_aggregate": mean_interval(kl[:n] - information),
        }
        # At most the mean KL; draws may put the lower bound itself a little above that.
        highest = max(estimates["kl"], estimates["information"], key=lambda e: e.value)
        estimates["information_upper"] = min(estimates["information_upper"], highest, key=lambda e: e.value)
        row = {"n": n, "log_n": math.log(n)}
        for name, estimate in estimates.items():
            row |= estimate.columns(name)
        rows.append(row)
    return pd.DataFrame(rows)


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

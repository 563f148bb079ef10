"""The aggregated posterior, where all codes together lie, against the prior."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Each, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.diagnostics.codes.aggregate_posterior_measure import (
    LEAST,
    Divergences,
    Posteriors,
    correlations,
    dependence_and_shape,
    divergences,
    gaps_to_nearest,
)
from latentrun.diagnostics.needs import FLAT, GAUSSIAN_POSTERIOR, PRIOR
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.distances.two_sample import median_distance, mmd2
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import interval_columns, share_interval
from latentrun.functional.statistics.mixtures import (
    bin_masses,
    binned_kl,
    covariance,
    gaussian_distances,
    marginal_moments,
)
from latentrun.functional.ties import ranked
from latentrun.models.base import HasPrior, is_standard_normal
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

EXTREME = "none: of the variable where it is most extreme"
REACH = 5.0  # histograms lie between -REACH and REACH
SURGERY = "Hoffman & Johnson, ELBO surgery, NIPS workshop 2016"
UPPER = "Poole et al. 2019, arXiv 1905.06922, section 2.2"
MMD = "Gretton et al. 2012, JMLR 13, eq. 3"


class AggregatePosterior(Diagnostic):
    """Do the codes of all examples together follow the prior N(0, I)?

    The aggregated posterior q(z) = 1/N sum_n q(z|x_n) is a mixture of N normals, here of up to ``rows``
    examples of a split. Nothing of it need be fitted: moments and densities are exact, over all N components.

    *Moments*: mean, variance (that of mu plus the mean sigma²), skewness, excess kurtosis of every variable:
    0, 1, 0, 0 for the prior; correlations of variables. Metrics are the farthest variable's (``worst``) and
    the root mean square deviation. *KL(q(z) || N(0, I))*, ``kl_aggregate`` in nats: what is lost by drawing
    from the prior instead of q(z). With the index n of an example as a random variable, mean KL(q(z|x) ||
    N(0, I)) = I(n; z) + KL(q(z) || N(0, I)) (Hoffman & Johnson 2016): ``kl`` = ``information`` +
    ``kl_aggregate``. I is the mean of ln q(z|x) - ln q(z), one z ~ q(z|x) for each x: no estimate but for
    these N draws, which the intervals are about; KL is the mean of KL(q(z|x) || N(0, I)) in closed form less
    that. Both are about these N examples, and I is at most ln N: for the source that the examples come from
    it is a lower bound, and KL an upper one. ``information_upper`` bounds the source's I from above: q(z)
    without the example's own posterior, at most ``kl`` (Poole et al. 2019, arXiv 1905.06922, section 2.2).
    Where codes hardly overlap (``information_share`` of ln N near 1) the two lie far apart and little is
    known; table ``rows`` has all for N/8, N/4, N/2 too. ``kl_aggregate.gaussian`` is KL(g || N(0, I)) of the
    normal g with the moments of q(z); what it leaves of ``kl_aggregate`` is ``negentropy``, KL(q(z) || g),
    what a better normal prior would not mend. ``total_correlation``: KL(q(z) || prod_i q(z_i)), 0 where the
    variables are independent under q(z). Both are means over draws of log densities of the mixture of the
    first ``n`` examples, and upper bounds for their source; the intervals reach down to where the example's
    own posterior is left out, which is a lower bound: they hold 0 where the source's q(z) is normal, or its
    variables independent. ``kl_marginals``: sum over variables of the KL of the binned marginals, a lower
    bound of the part that is not dependence between variables. ``frechet``: squared
    distance of g. *MMD²* between codes and prior draws, unbiased, mean over Gaussian kernels, with the share
    of random divisions with at least that, and *empty regions* are taken in the variables in use, those with
    a mean KL of at least ``inactive_kl``: the others follow the prior, carry nothing, and would blur all
    distances. *Empty regions*: ``empty.prior`` is the share of N prior draws that are farther from all of N
    codes z ~ q(z|x), one for each x, than a share ``quantile`` of such draws is from N others: 1 -
    ``quantile`` (5 %) where the codes follow the prior. ``empty.codes`` the same by the distances among the
    codes themselves: that share of codes is nearer to another code. Their intervals are Wilson's, as if the
    limit and the codes were given: too narrow by about a third for a new draw of codes. Hold them against the
    floor. In many dimensions all distances are alike, and little can be seen by them.

    ``floor`` of a metric is its value for draws from the prior in place of the codes.
    """

    requires = (GAUSSIAN_POSTERIOR, FLAT)
    uses = (PRIOR,)
    metrics: ClassVar = {
        "mean": Metric("of q(z_i): `rms` over latent variables, `worst` the largest |mean|", 0, None, "zero"),
        "variance": Metric("of q(z_i): `mean` over latent variables, `least`, `greatest`", 0, None, "one"),
        "skewness": Metric(
            "of q(z_i): `worst`, the largest |skewness| of a latent variable", 0, None, "zero"
        ),
        "kurtosis": Metric(
            "of q(z_i): `worst`, the largest |excess kurtosis| of a latent variable", 0, None, "zero"
        ),
        "correlation": Metric(
            "of two latent variables under q(z): `worst`, the largest |correlation|, and `rms`", 0, 1, "zero"
        ),
        "kl": Metric("KL(q(z|x) || N(0, I)), nats per example, mean over examples", 0),
        "information": Metric("I(index of the example; z), nats, at most ln N", 0, source=SURGERY),
        "information_share": Metric("information as a share of ln N", 0),
        "information_upper": Metric(
            "upper bound of I(example; z) for the source of the examples, nats", 0, source=UPPER
        ),
        "kl_aggregate": Metric(
            "KL(q(z) || N(0, I)), nats; `gaussian`: of the normal with its two moments",
            None,
            None,
            "zero",
            SURGERY,
        ),
        "negentropy": Metric("KL(q(z) || g), nats, g the normal with the moments of q(z)", 0, None, "zero"),
        "total_correlation": Metric(
            "KL(q(z) || product of its marginals), nats", 0, None, "zero", "Watanabe 1960"
        ),
        "kl_marginals": Metric(
            "sum over latent variables of KL(q(z_i) || N(0, 1)) of binned densities, nats", 0, None, "zero"
        ),
        "frechet": Metric(
            "squared Fréchet distance of N(moments of q(z)) and N(0, I), squared latent units",
            0,
            None,
            "zero",
        ),
        "gaussian_floor": Metric("kl_aggregate.gaussian of as many prior draws, nats", 0),
        "used": Metric("latent variables in use, in which mmd2 and empty are taken", 0),
        "mmd2": Metric(
            "squared maximum mean discrepancy of codes and prior draws, unbiased, mean over kernels",
            None,
            2,
            "zero",
            MMD,
        ),
        "p_mmd2": Metric("share of random divisions with at least that mmd2", 0, 1),
        "empty": Metric(
            "share of prior draws without a code nearby, by distances among `prior` draws or `codes`",
            0,
            1,
            "lower",
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Count(LEAST)],
        inactive_kl: Annotated[float, Ge(0)],
        n: Annotated[int, Count(LEAST)],
        widths: Annotated[list[float], Each(Gt(0))],
        permutations: Annotated[int, Count(19, 100_000)],
        quantile: Annotated[float, Between(0, 1)],
        bins: Annotated[int, Count(2, 10_000)],
        resamples: Annotated[int, Count(100, 100_000)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        if not widths:
            raise InputError("aggregate_posterior.widths: at least one is needed")
        self.split, self.rows, self.inactive_kl, self.n = split, rows, inactive_kl, n
        self.widths, self.permutations = widths, permutations
        self.quantile, self.bins, self.resamples, self.shown = quantile, bins, resamples, shown

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        all_used = self._posteriors(run, noise)
        mean, scale = all_used.mean, all_used.scale
        edges = torch.linspace(-REACH, REACH, self.bins + 1, dtype=torch.float64, device=mean.device)
        masses = bin_masses(mean, scale, edges)
        marginal = binned_kl(masses, edges)
        moments = marginal_moments(mean, scale, noise, self.resamples)
        kl = gaussian_kl(mean, scale.log()).mean(0)
        used = kl >= self.inactive_kl
        rows = divergences(all_used)
        posteriors = all_used.in_variables(used) if used.any() else all_used
        mmd = self._mmd(posteriors, noise)
        gaps = gaps_to_nearest(posteriors)
        limits = {
            name: torch.quantile(gaps[f"{name}_{name}"], self.quantile).item() for name in ("prior", "codes")
        }
        metrics = (
            moment_metrics(moments, mean, scale)
            | gaussian_metrics(all_used)
            | divergence_metrics(rows[-1])
            | dependence_and_shape(all_used, self.n)
            | {"kl_marginals": Estimate(marginal.sum().item()), "used": Estimate(float(used.sum()))}
            | mmd_metrics(mmd)
            | empty_metrics(gaps, limits)
        )
        return Report(
            metrics={name: metrics[name] for name in sorted(metrics, key=place_of)},
            tables={
                "variables": variable_table(scale, moments, marginal, kl),
                "rows": pd.DataFrame([part.row() for part in rows]),
                "mmd2": mmd,
            },
            arrays=self._arrays(all_used, edges, masses, marginal, gaps, limits),
            notes=self._notes(run, metrics, *mean.shape),
        )

    def _posteriors(self, run: Run, noise: Noise) -> Posteriors:
        latents = run.latents(self.split)
        rows = noise.permutation("rows", len(latents.codes))[: self.rows]
        if len(rows) < LEAST:
            raise NothingToMeasure(
                f"{len(rows)} examples of the {self.split} split are too few: {LEAST} are needed"
            )
        mean, scale = latents.codes[rows].double(), latents.posterior["scale"][rows].double()
        shape = tuple(mean.shape)
        z = mean + scale * noise.normal("z", shape)
        prior = (noise.normal(name, shape).double() for name in ("prior", "others", "control"))
        return Posteriors(mean, scale, z, *prior)

    def _mmd(self, posteriors: Posteriors, noise: Noise) -> pd.DataFrame:
        """MMD² of codes and prior draws, and of other draws and these, by kernel and over all (factor
        NaN)."""
        n = min(self.n, len(posteriors.z))
        width = median_distance(posteriors.control[:n])
        rows = []
        for pair, x in (("codes", posteriors.z), ("floor", posteriors.others)):
            y, widths = posteriors.prior[:n].float(), [width * factor for factor in self.widths]
            test = mmd2(x[:n].float(), y, widths, self.permutations, noise.at(pair))
            for factor, e, p in zip([*self.widths, np.nan], test.estimates, test.p, strict=True):
                rows.append((pair, factor, factor * width, n, *e.cells(), p))
        return pd.DataFrame(
            rows, columns=["pair", "factor", "width", "n", "mmd2", "low", "high", "method", "p"]
        )

    # ---------------------------------------------------------------- the report
    def _arrays(
        self,
        posteriors: Posteriors,
        edges: Tensor,
        masses: Tensor,
        marginal: Tensor,
        gaps: dict[str, Tensor],
        limits: dict[str, float],
    ) -> dict[str, np.ndarray]:
        """What is drawn: the variables farthest from the prior, distances to the nearest, and codes in the
        two variables with the smallest mean sigma², which say most of the example."""
        order = np.sort(ranked(marginal)[: self.shown])
        arrays = {
            f"gap_{name}": gap.cpu().numpy().astype(np.float32)
            for name, gap in gaps.items()
            if name != "control"
        }
        arrays |= {
            "limits": np.array([limits["prior"], limits["codes"]]),
            "edges": edges.cpu().numpy(),
            "masses": masses.cpu().numpy()[order],
            "shown": order,
        }
        if len(marginal) > 1:
            pair = np.sort(ranked(-posteriors.scale.square().mean(0))[:2])
            arrays |= {
                "plane": pair,
                "plane_empty": (arrays["gap_prior_codes"] > arrays["limits"][0])[: self.n],
                "plane_codes": posteriors.z[: self.n][:, pair].cpu().float().numpy(),
                "plane_prior": posteriors.prior[: self.n][:, pair].cpu().float().numpy(),
            }
        return arrays

    def _notes(self, run: Run, metrics: dict[str, Estimate], n: int, d: int) -> tuple[str, ...]:
        notes = [
            f"q(z): {n:,} examples of the {self.split} split, {d} latent variables. The floor: as many draws "
            "from the prior.",
            *caveats(run),
        ]
        if metrics["information_share"].value > 0.9:
            notes.append(
                f"The information is close to its greatest possible value ln N = {math.log(n):.2f} nats: the "
                "codes of these examples hardly overlap, and more examples would give more information and a "
                "smaller KL of the aggregate."
            )
        used = int(metrics["used"].value)
        if used < d:
            which = f"the {used} with a mean KL of at least {self.inactive_kl:g} nats"
            if not used:
                which = "all: none is in use"
            notes.append(f"Latent variables in which MMD and distances are taken: {which}.")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.aggregate_posterior_plot import pictures

        return pictures(report, self.shown, self.quantile)


# ---------------------------------------------------------------- metrics
def moment_metrics(moments: dict[str, list[Estimate]], mean: Tensor, scale: Tensor) -> dict[str, Estimate]:
    """What the moments of q(z_i) of every variable come to."""
    values = {name: np.array([e.value for e in estimates]) for name, estimates in moments.items()}
    metrics = {
        "mean.rms": Estimate(float(np.sqrt(np.square(values["mean"]).mean()))),
        "variance.mean": Estimate(float(values["variance"].mean())),
        "variance.least": Estimate(float(values["variance"].min()), method=EXTREME),
        "variance.greatest": Estimate(float(values["variance"].max()), method=EXTREME),
    }
    for name in ("mean", "skewness", "kurtosis"):
        metrics[f"{name}.worst"] = Estimate(float(pd.Series(values[name]).abs().max()))
    d = mean.shape[1]
    if d > 1:
        off = correlations(mean, scale).abs()[~torch.eye(d, dtype=torch.bool, device=mean.device)]
        metrics["correlation.worst"] = Estimate(off.max().item())
        metrics["correlation.rms"] = Estimate(off.square().mean().sqrt().item())
    return metrics


def gaussian_metrics(posteriors: Posteriors) -> dict[str, Estimate]:
    """How far the normals with the moments of q(z), and of as many prior draws, are from N(0, I)."""
    mean, scale, prior = posteriors.mean, posteriors.scale, posteriors.prior
    kl, frechet = gaussian_distances(mean.mean(0), covariance(mean, scale))
    kl_floor, frechet_floor = gaussian_distances(prior.mean(0), covariance(prior, torch.zeros_like(prior)))
    values = {
        "kl_aggregate.gaussian": kl,
        "frechet": frechet,
        "gaussian_floor": kl_floor,
        "frechet.floor": frechet_floor,
    }
    return {name: Estimate(value if math.isfinite(value) else math.nan) for name, value in values.items()}


def divergence_metrics(whole: Divergences) -> dict[str, Estimate]:
    """The divergences of all examples together."""
    share = Estimate(whole.information.value / math.log(whole.n))
    return whole.estimates | {"information_share": share}


def mmd_metrics(table: pd.DataFrame) -> dict[str, Estimate]:
    """The tests over all kernels."""
    metrics = {}
    for row in table[table["factor"].isna()].itertuples():
        end = "" if row.pair == "codes" else ".floor"
        metrics[f"mmd2{end}"] = Estimate.read(row.mmd2, row.low, row.high, row.method)
        metrics[f"p_mmd2{end}"] = Estimate(float(row.p))
    return metrics


def empty_metrics(gaps: dict[str, Tensor], limits: dict[str, float]) -> dict[str, Estimate]:
    """The share of prior draws without a code nearby, by the limits of draws and of codes, and the floor."""

    def beyond(gap: Tensor, limit: float) -> Estimate:
        return share_interval(int((gap > limit).sum()), len(gap))

    return {
        "empty.prior": beyond(gaps["prior_codes"], limits["prior"]),
        "empty.codes": beyond(gaps["prior_codes"], limits["codes"]),
        "empty.floor": beyond(gaps["control"], limits["prior"]),
    }


def place_of(name: str) -> int:
    """Where a metric stands among those declared."""
    return list(AggregatePosterior.metrics).index(name.partition(".")[0])


# ---------------------------------------------------------------- tables and words
def variable_table(
    scale: Tensor, moments: dict[str, list[Estimate]], marginal: Tensor, kl: Tensor
) -> pd.DataFrame:
    """A row for each variable."""
    columns = {"variable": np.arange(len(kl)), "mean_scale2": scale.square().mean(0).cpu().numpy()}
    for name, estimates in moments.items():
        columns |= interval_columns(name, estimates)
    return pd.DataFrame({**columns, "kl_marginal": marginal.cpu().numpy(), "kl": kl.cpu().numpy()})


def caveats(run: Run) -> list[str]:
    """What else to know about the prior and about sigma."""
    notes, prior = [], run.model.prior() if isinstance(run.model, HasPrior) else None
    if prior is None:
        notes.append(
            f"Samples of the model: {run.sampler_note}; all numbers here compare with N(0, I), which that is "
            "not."
        )
    elif not is_standard_normal(prior):
        notes.append("The model's own prior is not N(0, I); all numbers here compare with N(0, I).")
    if not posterior_training(run).sampled:
        notes.append(
            "The model was trained without sampling: sigma, and with it all that is said of more than mu, is "
            "untrained."
        )
    return notes

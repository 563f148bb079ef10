"""The aggregated posterior, where all codes together lie, against the prior."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Each, Ge, Gt
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import GAUSSIAN_POSTERIOR, PRIOR
from latentrun.errors import InputError
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.distances.two_sample import median_distance, mmd2
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.functional.statistics.mixtures import (
    bin_masses,
    binned_kl,
    component_log_density,
    covariance,
    gaussian_distances,
    log_densities,
    marginal_moments,
)
from latentrun.models.base import HasPrior, is_standard_normal
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

LEAST = 8  # examples, for the variance of the MMD
REACH = 5.0  # histograms lie between -REACH and REACH
PARTS = (8, 4, 2, 1)  # the divergences are also taken of the first N / 8, N / 4, ... examples
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
    normal g with the moments of q(z), ``kl_aggregate.shape`` the rest, exactly KL(q(z) || g): what of it a
    better normal prior would not mend. ``kl_marginals``: sum over variables of the KL of the binned
    marginals, a lower bound of the part that is not dependence between variables. ``frechet``: squared
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

    requires = (GAUSSIAN_POSTERIOR,)
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
            "KL(q(z) || N(0, I)), nats; `gaussian`: by two moments, `shape`: the rest",
            None,
            None,
            "zero",
            SURGERY,
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
        rows: Annotated[int, Ge(LEAST)],
        inactive_kl: Annotated[float, Ge(0)],
        n: Annotated[int, Ge(LEAST)],
        widths: Annotated[list[float], Each(Gt(0))],
        permutations: Annotated[int, Ge(19)],
        quantile: Annotated[float, Between(0, 1)],
        bins: Annotated[int, Ge(2)],
        resamples: Annotated[int, Ge(100)],
        shown: Annotated[int, Ge(1)],
    ):
        if not widths:
            raise InputError("aggregate_posterior.widths: at least one is needed")
        self.split, self.rows, self.inactive_kl, self.n, self.widths, self.permutations = (
            split,
            rows,
            inactive_kl,
            n,
            widths,
            permutations,
        )
        self.quantile, self.bins, self.resamples, self.shown = quantile, bins, resamples, shown

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        latents = run.latents(self.split)
        some = noise.permutation("rows", len(latents.codes))[: self.rows]
        if len(some) < LEAST:
            return Report(
                notes=(f"{len(some)} examples of the {self.split} split are too few: {LEAST} are needed",)
            )
        mean, scale = latents.codes[some].double(), latents.posterior["scale"][some].double()
        n, d = mean.shape
        z = mean + scale * noise.normal("z", (n, d))
        prior = {name: noise.normal(name, (n, d)).double() for name in ("prior", "others", "control")}

        notes = [
            f"q(z): {n:,} examples of the {self.split} split, {d} latent variables. The floor: as "
            "many draws from the prior.",
            *self._caveats(run),
        ]
        edges = torch.linspace(-REACH, REACH, self.bins + 1, dtype=torch.float64, device=mean.device)
        masses = bin_masses(mean, scale, edges)
        marginal = binned_kl(masses, edges)
        moments, found = self._moments(mean, scale, noise)
        moments["kl_marginal"] = marginal.cpu().numpy()
        metrics = found | self._gaussian(mean, scale, prior["prior"])
        rows = self._divergences(mean, scale, z)
        last = rows.iloc[-1]
        for name in ("kl", "information", "information_upper", "kl_aggregate"):
            metrics[name] = Estimate(*(float(last[name + end]) for end in ("", "_low", "_high")))
        shift = metrics["kl_aggregate.gaussian"].value
        whole = metrics["kl_aggregate"]
        metrics["kl_aggregate.shape"] = Estimate(
            *(end - shift for end in (whole.value, whole.low, whole.high))
        )
        metrics["information_share"] = Estimate(metrics["information"].value / math.log(n))
        metrics["kl_marginals"] = Estimate(marginal.sum().item())
        if metrics["information_share"].value > 0.9:
            notes.append(
                f"The information is close to its greatest possible value ln N = {math.log(n):.2f} "
                "nats: the codes of these examples "
                "hardly overlap, and more examples would give more information and a smaller KL of "
                "the aggregate."
            )
        moments["kl"] = gaussian_kl(mean, scale.log()).mean(0).cpu().numpy()
        used = torch.as_tensor(np.flatnonzero(moments["kl"] >= self.inactive_kl), device=z.device)
        metrics["used"] = Estimate(float(len(used)))
        if len(used) < d:
            where = (
                f"the {len(used)} with a mean KL of at least {self.inactive_kl:g} nats"
                if len(used)
                else "all: none is in use"
            )
            notes.append(f"Latent variables in which MMD and distances are taken: {where}.")
        used = used if len(used) else torch.arange(d, device=z.device)
        codes, draws = z[:, used], {name: points[:, used] for name, points in prior.items()}
        tables = {"variables": moments, "rows": rows, "mmd2": self._mmd(codes, draws, noise, metrics)}
        arrays = self._empty(codes, draws, metrics)
        order = marginal.argsort(descending=True)[: self.shown].sort().values
        arrays |= {
            "edges": edges.cpu().numpy(),
            "masses": masses[order].cpu().numpy(),
            "shown": order.cpu().numpy(),
        }
        if d > 1:
            arrays |= self._plane(scale, z, prior["prior"], arrays)
        return Report(
            {name: metrics[name] for name in sorted(metrics, key=_place)}, tables, arrays, notes=tuple(notes)
        )

    def _caveats(self, run: Run) -> list[str]:
        notes, prior = [], run.model.prior() if isinstance(run.model, HasPrior) else None
        if prior is None:
            notes.append(
                f"Samples of the model: {run.sampler_note}; all numbers here compare with N(0, I), "
                "which that is not."
            )
        elif not is_standard_normal(prior):
            notes.append("The model's own prior is not N(0, I); all numbers here compare with N(0, I).")
        if not run.model.posterior_training.sampled:
            notes.append(
                "The model was trained without sampling: sigma, and with it all that is said of more "
                "than mu, is untrained."
            )
        return notes

    def _moments(self, mean: Tensor, scale: Tensor, noise: Noise) -> tuple[pd.DataFrame, dict[str, Estimate]]:
        """A row for each variable, and the metrics made of moments."""
        d = mean.shape[1]
        table, metrics = (
            pd.DataFrame({"variable": np.arange(d), "mean_scale2": scale.square().mean(0).cpu().numpy()}),
            {},
        )
        moments = marginal_moments(mean, scale, noise, self.resamples)
        for name, estimates in moments.items():
            for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
                table[name + end] = np.array([getattr(e, key) for e in estimates], float)
        metrics["mean.rms"] = Estimate(float(np.sqrt(np.square(table["mean"]).mean())))
        for name in ("mean", "skewness", "kurtosis"):
            metrics[f"{name}.worst"] = Estimate(float(table[name].abs().max()))
        metrics["variance.mean"] = Estimate(float(table["variance"].mean()))
        for name, pick in (("least", min), ("greatest", max)):
            metrics[f"variance.{name}"] = pick(moments["variance"], key=lambda e: e.value)
        if d > 1:
            off = _correlations(mean, scale).abs()[~torch.eye(d, dtype=torch.bool, device=mean.device)]
            metrics |= {
                "correlation.worst": Estimate(off.max().item()),
                "correlation.rms": Estimate(off.square().mean().sqrt().item()),
            }
        return table, metrics

    def _gaussian(self, mean: Tensor, scale: Tensor, prior: Tensor) -> dict[str, Estimate]:
        kl, frechet = gaussian_distances(mean.mean(0), covariance(mean, scale))
        floor = gaussian_distances(prior.mean(0), covariance(prior, torch.zeros_like(prior)))
        values = {
            "kl_aggregate.gaussian": kl,
            "frechet": frechet,
            "gaussian_floor": floor[0],
            "frechet.floor": floor[1],
        }
        return {name: Estimate(value if math.isfinite(value) else math.nan) for name, value in values.items()}

    def _divergences(self, mean: Tensor, scale: Tensor, z: Tensor) -> pd.DataFrame:
        """``n, kl, information, information_upper, kl_aggregate`` with intervals, of the first n examples
        alone."""
        own, each = component_log_density(z, mean, scale), gaussian_kl(mean, scale.log()).sum(1)
        rows = []
        for n in sorted({len(z) // part for part in PARTS} - set(range(LEAST))):
            whole, others = log_densities(z[:n], mean[:n], scale[:n])
            information = own[:n] - whole
            found = {
                "kl": each[:n],
                "information": information,
                "information_upper": own[:n] - others,
                "kl_aggregate": each[:n] - information,
            }
            found = {name: mean_interval(values) for name, values in found.items()}
            # At most the mean KL; draws may put the lower bound itself a little above that.
            highest = max(found["kl"], found["information"], key=lambda e: e.value)
            found["information_upper"] = min(found["information_upper"], highest, key=lambda e: e.value)
            row = {"n": n, "log_n": math.log(n)}
            for name, e in found.items():
                row |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def _mmd(self, z: Tensor, prior: dict[str, Tensor], noise: Noise, metrics: dict) -> pd.DataFrame:
        n = min(self.n, len(z))
        width = median_distance(prior["control"][:n])
        rows = []
        for pair, x, end in (("codes", z, ""), ("floor", prior["others"], ".floor")):
            found = mmd2(
                x[:n].float(),
                prior["prior"][:n].float(),
                [width * f for f in self.widths],
                self.permutations,
                noise.at(pair),
            )
            metrics |= {f"mmd2{end}": found.estimates[-1], f"p_mmd2{end}": Estimate(float(found.p[-1]))}
            for factor, e, p in zip([*self.widths, np.nan], found.estimates, found.p, strict=True):
                rows.append((pair, factor, factor * width, n, e.value, e.low, e.high, p))
        return pd.DataFrame(rows, columns=["pair", "factor", "width", "n", "mmd2", "low", "high", "p"])

    def _empty(self, z: Tensor, prior: dict[str, Tensor], metrics: dict) -> dict[str, np.ndarray]:
        """Distances to the nearest: prior draws to codes, codes to codes, prior draws to others; and what
        they say."""
        others = prior["others"]
        gaps = {
            "prior_codes": nearest(prior["prior"], z, 1)[0][:, 0],
            "codes_codes": nearest(z, z, 1, same=True)[0][:, 0],
            "prior_prior": nearest(prior["prior"], others, 1)[0][:, 0],
            "control": nearest(prior["control"], others, 1)[0][:, 0],
        }
        limits = {
            name: torch.quantile(gaps[f"{name}_{name}"], self.quantile).item() for name in ("prior", "codes")
        }
        for name, gap, limit in (
            ("prior", "prior_codes", "prior"),
            ("codes", "prior_codes", "codes"),
            ("floor", "control", "prior"),
        ):
            metrics[f"empty.{name}"] = share_interval(int((gaps[gap] > limits[limit]).sum()), len(z))
        arrays = {
            f"gap_{name}": gap.cpu().numpy().astype(np.float32)
            for name, gap in gaps.items()
            if name != "control"
        }
        return arrays | {"limits": np.array([limits["prior"], limits["codes"]])}

    def _plane(self, scale: Tensor, z: Tensor, prior: Tensor, arrays: dict) -> dict[str, np.ndarray]:
        """Codes and prior draws in two variables: the two with the smallest mean sigma², which say most of
        the example."""
        pair = scale.square().mean(0).argsort()[:2].sort().values
        empty = arrays["gap_prior_codes"] > arrays["limits"][0]
        picked = {"codes": z, "prior": prior}
        return {
            "plane": pair.cpu().numpy(),
            "plane_empty": empty[: self.n],
            **{
                f"plane_{name}": points[: self.n, pair].cpu().float().numpy()
                for name, points in picked.items()
            },
        }

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.aggregate_posterior_plot import budget, marginals, moments, plane
        from latentrun.plotting.density import survival

        if not report.metrics:
            return {}
        arrays, variables = report.arrays, report.tables["variables"]
        far, share = float(arrays["limits"][0]), 1 - self.quantile
        value = {name: e.value for name, e in report.metrics.items()}
        more = (
            ""
            if len(variables) <= self.shown
            else f" The {self.shown} variables of {len(variables)} that are farthest from it."
        )
        found = {
            "marginals": Picture(
                marginals(arrays["edges"], arrays["masses"], arrays["shown"], variables),
                "The aggregated posterior of each latent variable (bars: exact masses of the mixture "
                "of all posteriors in each bin, as "
                "densities) over the density of the prior N(0, 1) (line). In brackets: KL of the "
                f"binned density in nats.{more}",
            ),
            "moments": Picture(
                moments(variables),
                "Moments of the aggregated posterior of each latent variable, with 95 % intervals "
                "over examples; dashed: those of the "
                "prior N(0, 1).",
            ),
            "budget": Picture(
                budget(value, report.tables["rows"]),
                "Where the divergence goes. Left: the mean KL(q(z|x) || N(0, I)) is the information "
                "of the code about which example it "
                "is of, plus KL(q(z) || N(0, I)) of the aggregate, in turn what the moments of q(z) "
                "are off and what is not normal about "
                "it. Right: both when only so many examples are taken; the information cannot exceed "
                "ln N (dotted). Shaded: where the "
                "information lies for the source of the examples.",
            ),
            "distances": Picture(
                survival(
                    {
                        "prior draw to nearest code": arrays["gap_prior_codes"],
                        "code to nearest other code": arrays["gap_codes_codes"],
                        "prior draw to nearest other": arrays["gap_prior_prior"],
                    },
                    "Euclidean distance (latent units)",
                    "share that is farther",
                    (far,),
                ),
                f"How far the nearest is, {len(arrays['gap_prior_codes']):,} of each kind. Where the "
                "codes follow the prior the lines "
                f"agree. Dotted: {far:.3g}, exceeded by {share:.0%} of prior draws among themselves "
                f"and by {value['empty.prior']:.1%} of "
                "prior draws to codes: the share of the prior's mass in regions without codes.",
            ),
        }
        if "plane" in arrays:
            found["plane"] = Picture(
                plane(arrays["plane_codes"], arrays["plane_prior"], arrays["plane_empty"], arrays["plane"]),
                "Codes z ~ q(z|x) and draws from the prior, in the two latent variables of smallest "
                "mean sigma²; the circles hold 50 % and "
                "95 % of the prior's mass. Right, orange: draws without a code nearby, in all "
                "variables in use.",
            )
        return found


def _correlations(mean: Tensor, scale: Tensor) -> Tensor:
    found = covariance(mean, scale)
    sd = found.diagonal().sqrt()
    return (found / sd / sd[:, None]).clamp(-1, 1)


def _place(name: str) -> int:
    return list(AggregatePosterior.metrics).index(name.partition(".")[0])

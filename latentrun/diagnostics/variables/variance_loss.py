"""How much variance reconstructions and samples have lost, beside the reconstruction error."""

from __future__ import annotations

from typing import Annotated, Literal

import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, POSTERIOR
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.models.base import HasGaussianPosterior, HasPosterior
from latentrun.run import CHUNK, Run
from latentrun.types import Metric, Picture, Report

SOURCE = "Asperti, Variance Loss in Variational Autoencoders, 2020, arXiv 2002.09860"
ROUNDING = 1e-6  # an mse below this share of the variance is float32 rounding: no ratio is made of it
UNIT = "squared data units, mean over data dimensions"


class VarianceLoss(Diagnostic):
    """How much less do reconstructions and samples vary than the data, beside the reconstruction error?

        delta_var = mean over pixels of var(x) - mean over pixels of var(xhat),    mse = mean over examples
        and pixels of (x - xhat)²,

    variances over the examples of a split (divided by N). Three kinds of xhat: ``mean``, decoded from mu(x)
    (from the code, for a model without posterior); ``posterior``, decoded from z ~ q(z|x); ``generated``, as
    many decoded draws from the prior, which belong to no x and so have no mse.

    Why the two should agree: with r = x - xhat, exactly delta_var = mse + 2 cov(xhat, r) - mean(r)² (averages
    over pixels; columns ``covariance`` and ``bias2``). Where xhat = E[x|z], r has mean 0 and is uncorrelated
    with xhat, so delta_var = mse: the law of total variance. A decoder trained on sampled codes aims at
    E[x|z] for z ~ q(z|x), so ``posterior`` is where to expect a ratio of 1 (on training data, at the optimum
    of a squared error); it never saw the less spread codes mu(x), and from them the ratio may be another one.
    For an autoencoder without posterior it is ``mean``.

    Intervals: 95 % percentile bootstrap over examples (``resamples``), pairs (x, xhat) kept together. Each
    variance is resampled as the mean of squared distances from the mean image, which stays in place: moving
    it along would change a resampled variance by its N-th part, far inside the interval.
    """

    requires = (ENCODER,)
    uses = (POSTERIOR, GENERATOR, IMAGES)
    metrics = {
        "delta_var": Metric(UNIT, better="zero", source=SOURCE),
        "mse": Metric(UNIT, low=0, better="lower", source=SOURCE),
        "ratio": Metric("delta_var / mse", source=SOURCE),
    }

    def __init__(self, split: Literal["train", "val", "test"], resamples: Annotated[int, Ge(100)]):
        self.split, self.resamples = split, resamples

    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x = run.x(self.split)
        decoded = {"mean": run.reconstructions(self.split)}
        if isinstance(run.model, HasPosterior):
            decoded["posterior"] = run.decode(posterior_codes(run, self.split, noise))
        decoded["generated"] = run.decode(run.sample_codes(len(x), noise.at("generated")))

        metrics, rows = {}, []
        for kind, xhat in decoded.items():
            paired = kind != "generated"
            found = dict(
                zip(
                    ("variance_x", "variance_xhat", "delta_var", "mse", "ratio"),
                    self._compare(x, xhat, paired, noise.at(kind)),
                    strict=True,
                )
            )
            metrics |= {
                f"{name}.{kind}": found[name]
                for name in (("delta_var", "mse", "ratio") if paired else ("delta_var",))
            }
            r = x - xhat if paired else torch.full_like(x, torch.nan)
            rows.append(
                {"kind": kind}
                | {name: estimate.value for name, estimate in found.items()}
                | {
                    "covariance": ((xhat - xhat.mean(0)) * (r - r.mean(0))).mean().item(),
                    "bias2": r.mean(0).square().mean().item(),
                }
                | {"low": found["delta_var"].low, "high": found["delta_var"].high}
                | {
                    f"{name}_{end}": getattr(found[name], end)
                    for name in ("mse", "ratio")
                    for end in ("low", "high")
                }
                | {"unit": UNIT}
            )
        arrays = {}
        if run.data.is_image:
            arrays = {
                f"variance_{kind}": images.var(0, correction=0).cpu().numpy()
                for kind, images in {"data": x, **decoded}.items()
            }
        notes = (
            f"{len(x)} examples of the {self.split} split and as many samples; generated: "
            f"{run.sampler_note}.",
            "low and high are the 95 % bootstrap interval of delta_var; generated pictures belong to "
            "no example and so have no mse.",
            "delta_var = mse + 2 covariance - bias2 exactly; for a decoder that gives E[x|z] the last "
            "two are 0.",
        )
        return Report(metrics, {"summary": pd.DataFrame(rows)}, arrays, notes=notes)

    def _compare(self, x: Tensor, xhat: Tensor, paired: bool, noise: Noise):
        """Estimates of var(x), var(xhat), their difference, mse and ratio."""
        columns = (
            [spread(x), spread(xhat), (x - xhat).square().flatten(1).mean(1)]
            if paired
            else [spread(x), spread(xhat)]
        )

        def statistic(means: Tensor) -> Tensor:
            delta = means[:, 0] - means[:, 1]
            mse = means[:, 2] if paired else torch.full_like(delta, torch.nan)
            ratio = torch.where(mse > ROUNDING * means[:, 0], delta / mse, torch.nan)
            return torch.stack([means[:, 0], means[:, 1], delta, mse, ratio], dim=1)

        return bootstrap_means(statistic, torch.stack(columns, dim=1), noise, self.resamples)

    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.plotting.variance_loss import loss_and_error, maps

        pictures = {
            "bars": Picture(
                loss_and_error(report.tables["summary"]),
                "Lost variance (data minus decoded, mean over pixels) beside the mean squared error, "
                "for reconstructions from the "
                "mean code, from sampled codes where the model has a posterior, and for samples. "
                "Whiskers: 95 % bootstrap intervals "
                "over examples. For a decoder that gives E[x|z] the two bars of a pair are equal; "
                "samples have no error.",
            )
        }
        found = {
            kind: report.arrays[f"variance_{kind}"]
            for kind in ("data", "mean", "posterior", "generated")
            if f"variance_{kind}" in report.arrays
        }
        if found:
            pictures["maps"] = Picture(
                maps(found),
                "Variance of each pixel over the data, over reconstructions from the mean code and "
                "from sampled codes, and over "
                "samples, on one colour scale (mean over colour channels). Where a map is darker than "
                "that of the data, variance was "
                "lost.",
            )
        return pictures


def spread(x: Tensor) -> Tensor:
    """Squared distance of each example from the mean example, ``(N,)``, mean over data dimensions: its mean
    is mean(var(x, axis 0))."""
    return (x - x.mean(0)).square().flatten(1).mean(1)


def posterior_codes(run: Run, split: str, noise: Noise) -> Tensor:
    """One draw z ~ q(z|x) ``(N, d)`` for every example of a split."""
    if isinstance(run.model, HasGaussianPosterior):
        latents = run.latents(split)
        return latents.codes + latents.posterior["scale"] * noise.normal(
            "posterior", tuple(latents.codes.shape)
        )
    # Other distributions draw from torch's global generator: it is seeded by the noise's key here and put
    # back afterwards.
    with torch.no_grad(), torch.random.fork_rng([run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(noise.generator("posterior").initial_seed())
        return torch.cat([run.model.posterior(part).sample() for part in run.x(split).split(CHUNK)])

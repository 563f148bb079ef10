"""How much variance reconstructions and samples have lost, beside the reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, POSTERIOR
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.models.base import HasPosterior
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report

SOURCE = "Asperti, Variance Loss in Variational Autoencoders, 2020, arXiv 2002.09860"
ROUNDING = 1e-6  # an mse below this share of the variance is float32 rounding: no ratio is made of it
UNIT = "squared data units, mean over data dimensions"
GENERATED = "generated"  # decoded draws from the prior, which belong to no example
KINDS = ("data", "mean", "posterior", GENERATED)


@dataclass(frozen=True)
class Loss:
    """Lost variance of one kind of decoded examples; ``mse`` and ``ratio`` are NaN where they belong to no
    example, and so are ``covariance`` and ``bias2``, which make up the difference of ``delta_var`` and
    ``mse``."""

    variance_x: Estimate
    variance_xhat: Estimate
    delta_var: Estimate
    mse: Estimate
    ratio: Estimate
    covariance: float
    bias2: float


class VarianceLoss(Diagnostic):
    """How much less do reconstructions and samples vary than the data, beside the reconstruction error?

        delta_var = mean of var(x) - mean of var(xhat),    mse = mean of (x - xhat)²,

    variances over the examples of a split (divided by N), means over the data dimensions, and of the mse over
    the examples too. Three kinds of xhat: ``mean``, decoded from mu(x)
    (from the code, for a model without posterior); ``posterior``, decoded from z ~ q(z|x); ``generated``, as
    many decoded draws from the prior, which belong to no x and so have no mse.

    Why the two should agree: with r = x - xhat, exactly delta_var = mse + 2 cov(xhat, r) - mean(r)² (averages
    over dimensions; columns ``covariance`` and ``bias2``). Where xhat = E[x|z], r has mean 0 and is
    uncorrelated with xhat, so delta_var = mse: the law of total variance. A decoder trained on sampled codes
    aims at E[x|z] for z ~ q(z|x), so ``posterior`` is where to expect a ratio of 1 (on training data, at the
    optimum of a squared error); it never saw the less spread codes mu(x), and from them the ratio may be
    another one. For an autoencoder without posterior it is ``mean``.

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

    def __init__(
        self, split: Literal["train", "val", "test"], resamples: Annotated[int, Count(100, 100_000)]
    ):
        self.split, self.resamples = split, resamples

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x = run.x(self.split)
        decoded = self._decoded(run, noise)
        losses = {
            kind: variance_loss(x, xhat, kind != GENERATED, noise.at(kind), self.resamples)
            for kind, xhat in decoded.items()
        }
        metrics: dict[str, Estimate] = {}
        for kind, loss in losses.items():
            metrics[f"delta_var.{kind}"] = loss.delta_var
            if kind != GENERATED:
                metrics |= {f"mse.{kind}": loss.mse, f"ratio.{kind}": loss.ratio}
        arrays = {}
        if run.data.is_image:
            variances = {kind: images.var(0, correction=0) for kind, images in {"data": x, **decoded}.items()}
            arrays = {f"variance_{kind}": variance.cpu().numpy() for kind, variance in variances.items()}
        summary = pd.DataFrame([summary_row(kind, loss) for kind, loss in losses.items()])
        return Report(metrics, {"summary": summary}, arrays, notes=self._notes(run, len(x)))

    def _decoded(self, run: Run, noise: Noise) -> dict[str, Tensor]:
        """What is decoded of each kind, ``(N, *event)``."""
        x = run.x(self.split)
        decoded = {"mean": run.reconstructions(self.split)}
        if isinstance(run.model, HasPosterior):
            decoded["posterior"] = run.decode(posterior_codes(run.model, x, noise.at("posterior")))
        decoded[GENERATED] = run.decode(run.sample_codes(len(x), noise.at(GENERATED)))
        return decoded

    def _notes(self, run: Run, n: int) -> tuple[str, ...]:
        return (
            f"{n} examples of the {self.split} split and as many samples; generated: {run.sampler_note}.",
            "low and high are the 95 % bootstrap interval of delta_var; generated pictures belong to no "
            "example and so have no mse.",
            "delta_var = mse + 2 covariance - bias2 exactly; for a decoder that gives E[x|z] the last two "
            "are 0.",
        )

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.variables.variance_loss_plot import loss_and_error, variance_maps

        bars = (
            "Lost variance (data minus decoded, mean over dimensions) beside the mean squared error, for "
            "reconstructions from the mean code, from sampled codes where the model has a posterior, and for "
            "samples. Whiskers: 95 % bootstrap intervals over examples. For a decoder that gives E[x|z] the "
            "two bars of a pair are equal; samples have no error."
        )
        pictures = {"bars": Picture(loss_and_error(report.tables["summary"]), bars)}
        variances = {
            kind: report.arrays[f"variance_{kind}"] for kind in KINDS if f"variance_{kind}" in report.arrays
        }
        if variances:
            text = (
                "Variance of each pixel over the data, over reconstructions from the mean code and from "
                "sampled codes, and over samples, on one colour scale (mean over colour channels). Where a "
                "map is darker than that of the data, variance was lost."
            )
            pictures["maps"] = Picture(variance_maps(variances), text)
        return pictures


# ---------------------------------------------------------------- measuring
def spread(x: Tensor) -> Tensor:
    """Squared distance of each example from the mean example, ``(N,)``, mean over data dimensions: its mean
    is mean(var(x, axis 0))."""
    return (x - x.mean(0)).square().flatten(1).mean(1)


def posterior_codes(model: HasPosterior, x: Tensor, noise: Noise) -> Tensor:
    """One draw z ~ q(z|x) ``(N, d)`` for every example of ``x (N, *event)``."""
    with torch.no_grad():
        parts = enumerate(x.split(CHUNK))
        return torch.cat([model.draw(part, noise.at(i)) for i, part in parts])


def variance_loss(x: Tensor, xhat: Tensor, paired: bool, noise: Noise, resamples: int) -> Loss:
    """Lost variance of ``xhat (N, *event)`` beside ``x (N, *event)``; ``paired``: row n of one is made of row
    n of the other."""
    columns = [spread(x), spread(xhat)]
    if paired:
        columns.append((x - xhat).square().flatten(1).mean(1))

    def statistic(means: Tensor) -> Tensor:
        """Averages ``(B, 2 or 3)`` to var(x), var(xhat), their difference, mse and ratio ``(B, 5)``."""
        delta = means[:, 0] - means[:, 1]
        mse = means[:, 2] if paired else torch.full_like(delta, torch.nan)
        ratio = torch.where(mse > ROUNDING * means[:, 0], delta / mse, torch.nan)
        return torch.stack([means[:, 0], means[:, 1], delta, mse, ratio], dim=1)

    estimates = bootstrap_means(statistic, torch.stack(columns, dim=1), noise, resamples)
    r = x - xhat if paired else torch.full_like(x, torch.nan)
    covariance = ((xhat - xhat.mean(0)) * (r - r.mean(0))).mean().item()
    return Loss(*estimates, covariance=covariance, bias2=r.mean(0).square().mean().item())


def summary_row(kind: str, loss: Loss) -> dict[str, Any]:
    """A row of the table ``summary``."""
    return {
        "kind": kind,
        "variance_x": loss.variance_x.value,
        "variance_xhat": loss.variance_xhat.value,
        "delta_var": loss.delta_var.value,
        "mse": loss.mse.value,
        "ratio": loss.ratio.value,
        "covariance": loss.covariance,
        "bias2": loss.bias2,
        "low": loss.delta_var.low,
        "high": loss.delta_var.high,
        "mse_low": loss.mse.low,
        "mse_high": loss.mse.high,
        "ratio_low": loss.ratio.low,
        "ratio_high": loss.ratio.high,
        "unit": UNIT,
    }

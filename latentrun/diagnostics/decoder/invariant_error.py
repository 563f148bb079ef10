"""Reconstruction errors that forgive a small displacement, or anything that leaves the factors as they
are."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge
from latentrun.data.base import Oracle
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.invariant_error_plot import invariant_error_pictures
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, ORACLE
from latentrun.functional.images.registration import Alignment, align
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.intervals import bootstrap_means, mean_interval, share_interval
from latentrun.functional.statistics.quantiles import mean_and_tail
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

SHARES = {"median": 0.5, "p99": 0.99}
NORM = "units of x, ||x - {}||_F over all data dimensions{}"
SHARE = "part of the picture's norm, ||x - {}|| / ||x||"
TAKEN = "share of the summed squared error that the alignment takes away"


def _parts(name: str, unit: str) -> dict[str, Metric]:
    """Mean, median and 99th percentile over examples, named as in the diagnostic ``reconstruction``."""
    return {f"{name}_{part}": Metric(unit, 0, None, "lower") for part in ("mean", *SHARES)}


class InvariantError(Diagnostic):
    """How much of the reconstruction error is a small displacement, and are the factors right?

    *Aligned*: each reconstruction x_hat = decode(mean code of x) is turned about the middle of the frame by
    at most ``angle`` degrees and moved by at most ``shift`` pixels, right or left and up or down, so that ||x
    - T x_hat||_F is least (a local minimum; the identity is a candidate, so ``aligned_error`` never exceeds
    ``error``). x_hat is what moves: it is the smoother picture as a rule, so that reading it between pixels
    alters it least, and moving x would let a blurred reconstruction gain by blurring x too. Beyond the frame
    x_hat goes on with the nearest pixel of its edge, and all pixels of x count.

    ``gain`` = 1 - sum aligned² / sum plain². Three fitted numbers take something off any error:
    ``gain_swapped`` is the gain when every picture is given the error of another one, drawn at random (high
    too where pictures that look alike are all displaced alike). Only a gain above that says that pictures are
    displaced each in its own way. Half a pixel away, errors that alternate from pixel to pixel vanish, as
    under any interpolation: shifts near that may be smoothing. The angle of a round picture, and the shift
    along a straight band, is arbitrary; ``angle`` and ``shift`` average these too.

    *Factors* (with an oracle): f_hat are the factors of the member of the family nearest to x_hat.
    ``factor_error`` = mean |f_hat - f| as a share of the factor's range (cyclic ones the shorter way round,
    as a share of the period; categorical ones the share of rows whose category is another), f_hat unbounded.
    ``family_error`` = ||x - render(f_hat)|| / ||x||: what is wrong up to the family, beside
    ``relative_error`` = ||x - x_hat|| / ||x||.

    Intervals (95 %, over the rows of ``split``): Student's corrected for skewness for means, order statistics
    for percentiles, bootstrap for the gains.
    """

    requires = (ENCODER, IMAGES)
    uses = (ORACLE, FACTORS)
    metrics: ClassVar = {
        **_parts("error", NORM.format("xhat", "")),
        **_parts("aligned_error", NORM.format("T xhat", ", T the best small rigid motion")),
        "gain": Metric(TAKEN, 0, 1, "none"),
        "gain_swapped": Metric(TAKEN + " when each picture has the error of another", 0, 1, "none"),
        "shift": Metric("pixels, length of the best shift, mean over examples", 0, None, "lower"),
        "angle": Metric("degrees, |best angle|, mean over examples", 0, None, "lower"),
        "at_limit": Metric(
            "share of examples whose best motion lies on the edge of what was searched", 0, 1, "none"
        ),
        "factor_error": Metric(
            "part of the factor's range, |fitted to xhat - true|, mean over examples", 0, None, "lower"
        ),
        **_parts("relative_error", SHARE.format("xhat")),
        **_parts("family_error", SHARE.format("render(factors fitted to xhat)")),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        shift: Annotated[float, Ge(0)],
        angle: Annotated[float, Between(0, 90)],
        worst: Annotated[int, Count(1, 10_000)],
        resamples: Annotated[int, Count(100, 100_000)],
    ):
        self.split, self.shift, self.angle, self.worst, self.resamples = split, shift, angle, worst, resamples

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        x, made = run.x(self.split), run.reconstructions(self.split)
        alignment = align(x, made, self.shift, self.angle)
        metrics = self._errors(alignment) | {"gain": self._gain(alignment, noise)}
        if len(x) > 1:
            swapped = align(x, x + swapped_rows(made - x, noise), self.shift, self.angle)
            metrics["gain_swapped"] = self._gain(swapped, noise)
        metrics |= self._motion(alignment)
        errors = pd.DataFrame(self._columns(run, alignment))
        tables = {"errors": errors}
        if isinstance(run.data, Oracle):
            fitted = run.data.project(made).factors
            distances = self._family(run, x, errors["error"].to_numpy(), fitted)
            for name, values in distances.items():
                metrics |= spread(name, torch.from_numpy(values))
                errors[name] = values
            tables["factors"] = self._factors(run, fitted, errors, metrics)
        means_first = sorted(metrics, key=lambda name: name.endswith(tuple(SHARES)))
        return Report(
            metrics={name: metrics[name] for name in means_first},
            tables=tables,
            arrays=self._worst(run, x, made, alignment),
            notes=(
                f"Reconstructions of {len(x)} examples of the {self.split} split, moved by up to "
                f"{self.shift:g} px and {self.angle:g}°.",
            ),
        )

    def _errors(self, alignment: Alignment) -> dict[str, Estimate]:
        """The errors before and after the alignment."""
        return spread("error", alignment.plain.cpu()) | spread("aligned_error", alignment.aligned.cpu())

    def _gain(self, alignment: Alignment, noise: Noise) -> Estimate:
        """The share of the summed squared error that the alignment takes away."""
        columns = torch.stack([alignment.aligned, alignment.plain], 1).cpu().square()
        [gain] = bootstrap_means(
            lambda means: 1 - means[:, :1] / means[:, 1:], columns, noise.at("gain"), self.resamples
        )
        return gain

    def _motion(self, alignment: Alignment) -> dict[str, Estimate]:
        """How far the pictures were moved, and how many as far as they may be."""
        shift, angle = alignment.shift.cpu(), alignment.angle.cpu()
        limit = torch.zeros(len(angle), dtype=torch.bool)
        if self.shift > 0:
            limit |= (shift.abs() >= self.shift - 1e-3).any(1)
        if self.angle > 0:
            limit |= angle.abs() >= self.angle - 1e-3
        return {
            "shift": mean_interval(shift.norm(dim=1)),
            "angle": mean_interval(angle.abs()),
            "at_limit": share_interval(int(limit.sum()), len(limit)),
        }

    def _columns(self, run: Run, alignment: Alignment) -> dict[str, np.ndarray]:
        """Errors and motion of each example."""
        shift = alignment.shift.cpu().numpy()
        return {
            "index": run.latents(self.split).index.cpu().numpy(),
            "error": alignment.plain.cpu().numpy(),
            "aligned_error": alignment.aligned.cpu().numpy(),
            "shift_right": shift[:, 0],
            "shift_up": shift[:, 1],
            "angle": alignment.angle.cpu().numpy(),
        }

    # ---------------------------------------------------------------- what an oracle says
    def _family(self, run: Run, x: Tensor, error: np.ndarray, fitted: Tensor) -> dict[str, np.ndarray]:
        """Distances ``(N,)`` of each original to its reconstruction, and to the member of the family with the
        factors ``fitted (N, F)`` to that; as shares of its norm."""
        data = run.data
        assert isinstance(data, Oracle)  # it has fitted the factors
        chunks = zip(x.split(CHUNK), fitted.split(CHUNK), strict=True)
        off = [(rows - data.render(y)).flatten(1).double().norm(dim=1) for rows, y in chunks]
        size = x.flatten(1).double().norm(dim=1).cpu().numpy()
        return {"relative_error": error / size, "family_error": torch.cat(off).cpu().numpy() / size}

    def _factors(
        self, run: Run, fitted: Tensor, errors: pd.DataFrame, metrics: dict[str, Estimate]
    ) -> pd.DataFrame:
        """A row for each factor: how far the fitted one is off; both in columns of the table of examples."""
        truths = targets(run.data.factors, None, run.latents(self.split).y.cpu().numpy(), None)
        rows = []
        for (factor, truth), values in zip(truths, fitted.cpu().double().numpy().T, strict=True):
            errors[factor.name], errors[f"fitted.{factor.name}"] = truth, values
            off = factor_error(factor, truth, values)
            if not np.isfinite(off).all():
                continue
            metrics[f"factor_error.{factor.name}"] = mean_interval(off)
            median, p95, p99 = np.quantile(off, [0.5, 0.95, 0.99])
            rows.append((factor.name, factor.kind, off.mean(), median, p95, p99, off.max()))
        return pd.DataFrame(rows, columns=["factor", "kind", "mean", "median", "p95", "p99", "max"])

    # ---------------------------------------------------------------- pictures
    def _worst(self, run: Run, x: Tensor, made: Tensor, alignment: Alignment) -> dict[str, np.ndarray]:
        """The examples of greatest error before the alignment."""
        order = alignment.plain.cpu().argsort(descending=True, stable=True)[: self.worst]
        images = {"original": x, "reconstruction": made, "aligned": alignment.moved}
        arrays = {
            f"worst_{name}": values[order.to(x.device)].cpu().float().numpy()
            for name, values in images.items()
        }
        return arrays | {
            "worst": order.numpy(),
            "value_range": np.asarray(run.data.value_range, np.float32),
        }

    def plot(self, report: Report) -> dict[str, Picture]:
        return invariant_error_pictures(report, self.split, self.shift, self.angle)


def spread(name: str, values: Tensor) -> dict[str, Estimate]:
    """Mean, median and 99th percentile of ``values (N,)``, each with its interval."""
    return {f"{name}_{part}": estimate for part, estimate in mean_and_tail(values, SHARES).items()}


def swapped_rows(values: Tensor, noise: Noise) -> Tensor:
    """``values (N, ...)``, N >= 2, in which every row has the place of another, drawn at random."""
    order = noise.permutation("others", len(values)).to(values.device)
    # A cyclic shift of a random order.
    return values[torch.empty_like(order).scatter_(0, order, order.roll(1))]


def factor_error(factor: Factor, truth: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """|fitted - truth| ``(N,)`` as a share of the factor's range; of cyclic ones the shorter way round, as a
    share of the period (at most 0.5); of categorical ones 1 where the category is another, else 0. NaN for a
    factor without range."""
    if factor.kind == "categorical":
        return (np.rint(fitted) != np.rint(truth)).astype(float)
    period = factor.high - factor.low
    off = np.abs(fitted - truth) / period if period > 0 else np.full(len(truth), np.nan)
    return np.minimum(off % 1, 1 - off % 1) if factor.kind == "cyclic" else off

"""Reconstruction errors that forgive a small displacement, or anything that leaves the factors as they
are."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Ge
from latentrun.data.base import Oracle
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, ORACLE
from latentrun.functional.images.registration import Alignment, align
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.intervals import (
    bootstrap_means,
    mean_and_tail,
    mean_interval,
    share_interval,
)
from latentrun.plotting.differences import differences
from latentrun.plotting.histogram import overlay
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

SHARES = {"median": 0.5, "p99": 0.99}
NORM = "units of x, ||x - {}||_F over all data dimensions{}; interval: over examples"
SHARE = "share of the picture's norm, ||x - {}|| / ||x||; interval: over examples"
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

    Intervals (95 %, over the rows of ``split``): normal approximation for means, bootstrap for the rest.
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
            "share of the factor's range, |fitted to xhat - true|, mean over examples", 0, None, "lower"
        ),
        **_parts("relative_error", SHARE.format("xhat")),
        **_parts("family_error", SHARE.format("render(factors fitted to xhat)")),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        shift: Annotated[float, Ge(0)],
        angle: Annotated[float, Between(0, 90)],
        worst: Annotated[int, Ge(1)],
        resamples: Annotated[int, Ge(100)],
    ):
        self.split, self.shift, self.angle, self.worst, self.resamples = split, shift, angle, worst, resamples

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        x, made, codes = run.x(self.split), run.reconstructions(self.split), run.latents(self.split)
        found = align(x, made, self.shift, self.angle)
        plain, aligned, shift, angle = (
            part.cpu() for part in (found.plain, found.aligned, found.shift, found.angle)
        )
        metrics = self._spread("error", plain, noise) | self._spread("aligned_error", aligned, noise)
        metrics["gain"] = self._gain(found, noise)
        notes = [
            f"Reconstructions of {len(x)} examples of the {self.split} split, moved by up to {self.shift:g} "
            f"px and {self.angle:g}°."
        ]
        if len(x) > 1:
            # A cyclic shift of a random order gives every row the error of another.
            order = noise.permutation("others", len(x)).to(x.device)
            other = torch.empty_like(order).scatter_(0, order, order.roll(1))
            unrelated = align(x, x + (made - x)[other], self.shift, self.angle)
            metrics["gain_swapped"] = self._gain(unrelated, noise)
        metrics["shift"], metrics["angle"] = mean_interval(shift.norm(dim=1)), mean_interval(angle.abs())
        limit = (shift.abs() >= self.shift - 1e-3).any(1) & (self.shift > 0) | (
            angle.abs() >= self.angle - 1e-3
        ) & (self.angle > 0)
        metrics["at_limit"] = share_interval(int(limit.sum()), len(limit))
        columns = {
            "index": codes.index.cpu().numpy(),
            "error": plain.numpy(),
            "aligned_error": aligned.numpy(),
        }
        columns |= {
            "shift_right": shift[:, 0].numpy(),
            "shift_up": shift[:, 1].numpy(),
            "angle": angle.numpy(),
        }
        tables = {}
        if isinstance(run.data, Oracle):
            tables["factors"], own = self._factors(run, x, made, plain, noise, metrics)
            columns |= own
        tables = {"errors": pd.DataFrame(columns), **tables}
        metrics = {
            name: metrics[name] for name in sorted(metrics, key=lambda name: name.endswith(tuple(SHARES)))
        }  # means first

        order = plain.argsort(descending=True, stable=True)[: self.worst]
        at = order.to(x.device)
        pictures = {"original": x, "reconstruction": made, "aligned": found.moved}
        arrays = {f"worst_{name}": values[at].cpu().float().numpy() for name, values in pictures.items()}
        arrays |= {"worst": order.numpy(), "value_range": np.asarray(run.data.value_range, np.float32)}
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _spread(self, name: str, values: Tensor, noise: Noise) -> dict[str, Estimate]:
        found = mean_and_tail(values, noise.at(name), self.resamples, SHARES)
        return {f"{name}_{part}": estimate for part, estimate in found.items()}

    def _gain(self, found: Alignment, noise: Noise) -> Estimate:
        columns = torch.stack([found.aligned, found.plain], 1).cpu().square()
        return bootstrap_means(
            lambda means: 1 - means[:, :1] / means[:, 1:], columns, noise.at("gain"), self.resamples
        )[0]

    def _factors(
        self, run: Run, x: Tensor, made: Tensor, plain: Tensor, noise: Noise, metrics
    ) -> tuple[pd.DataFrame, dict]:
        """A row a factor, and a column a measure of each example."""
        fitted = run.data.project(made).factors
        pairs = zip(x.split(CHUNK), fitted.split(CHUNK), strict=True)
        off = torch.cat([(a - run.data.render(f)).flatten(1).double().norm(dim=1) for a, f in pairs])
        size = x.flatten(1).double().norm(dim=1).cpu()
        own = {"relative_error": plain / size, "family_error": off.cpu() / size}
        for name, values in own.items():
            metrics |= self._spread(name, values, noise)
        columns = {name: values.numpy() for name, values in own.items()}
        known = targets(run.data.factors, None, run.latents(self.split).y.cpu().numpy(), None)
        rows = []
        for (factor, truth), values in zip(known, fitted.cpu().double().numpy().T, strict=True):
            wrong = factor_error(factor, truth, values)
            columns |= {factor.name: truth, f"fitted.{factor.name}": values}
            if np.isfinite(wrong).all():
                metrics[f"factor_error.{factor.name}"] = mean_interval(wrong)
                rows.append(
                    (
                        factor.name,
                        factor.kind,
                        wrong.mean(),
                        *np.quantile(wrong, [0.5, 0.95, 0.99]),
                        wrong.max(),
                    )
                )
        return pd.DataFrame(rows, columns=["factor", "kind", "mean", "median", "p95", "p99", "max"]), columns

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        errors, arrays, gain = report.tables["errors"], report.arrays, report.metrics["gain"].value
        label = r"error $\|x-\hat{x}\|_F$ (units of $x$)"
        beside = report.metrics["gain_swapped"].value if "gain_swapped" in report.metrics else np.nan
        pictures = {
            "errors": Picture(
                overlay(
                    {"as decoded": errors["error"].to_numpy(), "aligned": errors["aligned_error"].to_numpy()},
                    label,
                ),
                f"Reconstruction errors of {len(errors)} examples of the {self.split} split, as they are "
                f"and after the best motion by up to {self.shift:g} px and {self.angle:g}°. Dotted: means. "
                f"The alignment takes {gain:.1%} off the summed squared error, and {beside:.1%} where every "
                "picture has the error of another.",
            )
        }
        if "family_error" in errors:
            own = {name: errors[f"{name}_error"].to_numpy() for name in ("relative", "family")}
            text = {"relative": r"reconstruction $\hat{x}$", "family": r"family member nearest to $\hat{x}$"}
            pictures["family"] = Picture(
                overlay(
                    {text[name]: values for name, values in own.items()},
                    r"distance to $x$ (share of $\|x\|$)",
                ),
                "Distance of the original to its reconstruction, and to the member of the family that is "
                "nearest to the reconstruction: what is left of the error when all that leaves the fitted "
                "factors as they are is forgiven. Dotted: means.",
            )
        rows = errors.iloc[arrays["worst"]]
        columns = [
            f"{row.error:.2f} → {row.aligned_error:.2f}\n→ {row.shift_right:z.2f} px\n↑ {row.shift_up:z.2f} "
            f"px\n↺ {row.angle:z.1f}°"
            for row in rows.itertuples()
        ]
        made = {name: arrays[f"worst_{name}"] for name in ("reconstruction", "aligned")}
        pictures["worst"] = Picture(
            differences(
                arrays["worst_original"], made, tuple(arrays["value_range"].tolist()), columns, tile=0.8
            ),
            f"The {len(rows)} worst reconstructions of the {self.split} split, the worst on the left, "
            "before and after the alignment, each with its difference from the original (red where it is "
            "too high, blue where too low). Beneath: error before → after, the shift to the right (→) and "
            "upwards (↑) in pixels, and the angle (counter-clockwise).",
        )
        return pictures


def factor_error(factor: Factor, truth: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """|fitted - truth| ``(N,)`` as a share of the factor's range; of cyclic ones the shorter way round, as a
    share of the period (at most 0.5); of categorical ones 1 where the category is another, else 0. NaN for a
    factor without range."""
    if factor.kind == "categorical":
        return (np.rint(fitted) != np.rint(truth)).astype(float)
    period = factor.high - factor.low
    off = np.abs(fitted - truth) / period if period > 0 else np.full(len(truth), np.nan)
    return np.minimum(off % 1, 1 - off % 1) if factor.kind == "cyclic" else off

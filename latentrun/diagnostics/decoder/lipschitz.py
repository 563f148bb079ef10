"""How steep encoder and decoder are, and how steep the encoder became."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count
from latentrun.data.base import places_of
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.lipschitz_plot import growth_picture, slope_picture
from latentrun.diagnostics.needs import DIFFERENTIABLE, ENCODER
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.quantiles import quantile_interval
from latentrun.functional.statistics.regression import trend
from latentrun.geometry.lipschitz import NotBounded, steepest, upper_bound
from latentrun.models.base import HasEncoder
from latentrun.run import Run
from latentrun.types import Estimate, History, Metric, Picture, Report

SHARES = {"median": 0.5, "p95": 0.95}
CHUNK = 128  # points whose Jacobians are taken at once
STRETCH = "output norm per input norm"
UNITS = {"encoder": "latent units for a data unit", "decoder": "data units for a latent unit"}


@dataclass(frozen=True)
class Steepness:
    """Of a map at n points: ``slopes (n,)``, the largest singular values of its Jacobian; the largest
    ``quotient`` of two of the points and which ``pair`` of them has it; ``upper``, the product of the norms
    of its steps, or None and ``why`` there is none."""

    slopes: np.ndarray
    quotient: float
    pair: tuple[int, int]
    upper: float | None
    why: str

    @property
    def lower(self) -> float:
        """The steepest that was seen."""
        return max(float(self.slopes.max()), self.quotient)


class Lipschitz(Diagnostic):
    """How steep are encoder and decoder at most, and how steep did the encoder become while it trained?

    The Lipschitz constant of a map f is the largest ||f(a) - f(b)|| / ||a - b||, Euclidean norms of whole
    examples and codes: latent units for a data unit (encoder), data units for a latent unit (decoder).
    ``lower``: the largest seen, that of the ``slope`` (largest singular value of the Jacobian, by power
    iteration) at n points and of the ``quotient`` of any two of them; points are test rows and their codes
    (codes drawn where there is no encoder), directions those within the latent space. ``upper``: the product
    of the spectral norms of all steps, see :func:`~latentrun.geometry.lipschitz.upper_bound`, which may be
    thousands of times too large; none where a step has no bound, with the step in the notes. ``tightness`` =
    lower / upper. ``slope.*.median``, ``p95``: over the points.

    Over training: of the fixed training rows whose codes the run recorded after every epoch, the largest
    quotient of any two, Q_e (a bound from below of the encoder's constant), and R_e = Q_e sd(x) / sd(z_e),
    how much steeper the encoder is there than over the whole of the data. ``growth`` p: Q_e (and R_e) ~ e^p
    by a line through ln Q against ln e over the last ``share`` of the epochs, at least ``least``: above 0 it
    still grows. ``rise``: the last over the first. Nothing of the decoder is recorded.

    Intervals: order statistics over points for percentiles; that of a slope through epochs, which hang
    together, for growth (:func:`~latentrun.functional.statistics.regression.trend`); none for maxima.
    """

    requires = (DIFFERENTIABLE,)
    uses = (ENCODER,)
    metrics: ClassVar = {
        "lower": Metric(f"{STRETCH}, the largest seen of `encoder` and `decoder`", 0),
        "upper": Metric(f"{STRETCH}, product of the spectral norms of all steps of both", 0),
        "tightness": Metric("lower / upper", 0, 1.01),
        "slope": Metric(f"{STRETCH}, largest singular value of the Jacobian, percentiles over points", 0),
        "quotient": Metric(f"{STRETCH}, largest of all pairs of points", 0),
        "growth": Metric(
            "exponent of the epoch by which the encoder's largest `quotient` (`relative` to the spread of "
            "its codes) grows at the end",
            better="zero",
        ),
        "rise": Metric("that quotient after the last over that after the first epoch", 0),
    }

    def __init__(
        self,
        n: Annotated[int, Count(2, 10_000)],
        iterations: Annotated[int, Count(1, 10_000)],
        share: Annotated[float, Between(0, 1)],
        least: Annotated[int, Count(5)],
    ):
        self.n, self.iterations, self.share, self.least = n, iterations, share, least

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        measured = self._measured(run, noise)
        metrics: dict[str, Estimate] = {}
        for name, found in measured.items():
            metrics |= steepness_metrics(name, found)
        tables = {"points": point_table(measured), "maps": map_table(measured)}
        notes = [f"{name.capitalize()}: {UNITS[name]}." for name in measured]
        notes += [f"Not bounded: {found.why} in the {name}." for name, found in measured.items() if found.why]
        history = self._history(run)
        if history is not None:
            tables["epochs"] = history
            metrics |= self._growth(history, notes)
        return Report(metrics, tables, notes=tuple(notes))

    def _measured(self, run: Run, noise: Noise) -> dict[str, Steepness]:
        """Of the encoder, where there is one, and the decoder."""
        model, space = run.model, run.model.spaces["z"]
        onto = None if space.dim == space.ambient_dim else space.tangent
        measured = {}
        if isinstance(model, HasEncoder):
            x = run.x("test")
            x = x[evenly(len(x), self.n).to(x.device)]
            z = run.encode(x)
            measured["encoder"] = self._steepness(model.encode, x, noise.at("encoder"), None)
        else:
            z = run.sample_codes(self.n, noise)
        measured["decoder"] = self._steepness(model.decode, z, noise.at("decoder"), onto)
        return measured

    def _steepness(
        self,
        function: Callable[[Tensor], Tensor],
        points: Tensor,
        noise: Noise,
        onto: Callable[[Tensor, Tensor], Tensor] | None,
    ) -> Steepness:
        start = noise.to(points.device).normal("directions", tuple(points.shape))
        parts = zip(points.split(CHUNK), start.split(CHUNK), strict=True)
        slopes = [steepest(function, *part, self.iterations, onto) for part in parts]
        with torch.no_grad():
            images = torch.cat([function(part) for part in points.split(CHUNK)])
        upper, why = None, ""
        try:
            upper = upper_bound(function, points)
        except NotBounded as step:
            why = str(step)
        quotient, pair = largest_quotient(points, images)
        return Steepness(torch.cat(slopes).double().cpu().numpy(), quotient, pair, upper, why)

    def _history(self, run: Run) -> pd.DataFrame | None:
        """The encoder's largest quotient after every recorded epoch; None where nothing is recorded."""
        history, train = run.history, run.data.split("train")
        if history is None or len(history.epochs) == 0 or not history.epoch_mean.shape[2]:
            return None
        places = places_of(history.index, train)
        return None if places is None else quotients(train.x[torch.from_numpy(places)], history)

    def _growth(self, table: pd.DataFrame, notes: list[str]) -> dict[str, Estimate]:
        last = max(self.least, math.ceil(self.share * len(table)))
        if last > len(table) or not (table[["quotient", "relative"]] > 0).all(axis=None):
            notes.append(
                f"Only {len(table)} recorded epochs, or codes that are all equal: no growth is told."
            )
            return {}
        end, found = table.iloc[-last:], {}
        for name in ("quotient", "relative"):
            found[f"growth.{name}"] = exponent(end["epoch"].to_numpy(float), end[name].to_numpy(float))
            found[f"rise.{name}"] = Estimate(float(table[name].iloc[-1] / table[name].iloc[0]))
        notes.append(f"Growth: over the last {last} of {len(table)} recorded epochs.")
        return found

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        pictures = {"slopes": slope_picture(report.tables["points"], report.tables["maps"], UNITS)}
        if len(report.tables.get("epochs", ())) > 1:
            pictures["growth"] = growth_picture(report.tables["epochs"], report.metrics)
        return pictures


# ---------------------------------------------------------------- numbers
def largest_quotient(points: Tensor, images: Tensor) -> tuple[float, tuple[int, int]]:
    """The largest ||f(a) - f(b)|| / ||a - b|| over all pairs of ``points (n, ...)`` that differ, with their
    ``images (n, ...)``, and which pair has it."""
    apart, moved = (distances(values) for values in (points, images))
    quotient = torch.where(apart > 0, moved / apart.clamp_min(1e-300), 0.0)
    at = int(quotient.argmax())
    return float(quotient.flatten()[at]), divmod(at, len(points))


def distances(values: Tensor) -> Tensor:
    """Of all pairs of rows ``(n, ...)``: ``(n, n)``, exact for near ones too."""
    flat = values.detach().flatten(1).double()
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")


def quotients(x: Tensor, history: History) -> pd.DataFrame:
    """A row for each recorded epoch: the largest quotient over pairs of the rows ``x (n, ...)`` and which
    pair of the data's rows it is of, and that quotient over sd(z) / sd(x)."""
    apart, spread = distances(x), spread_of(x)
    rows = []
    for epoch, codes in zip(history.epochs, history.epoch_mean, strict=True):
        z = torch.from_numpy(codes)
        quotient = torch.where(apart > 0, distances(z) / apart.clamp_min(1e-300), 0.0)
        first, second = divmod(int(quotient.argmax()), len(x))
        value, scale = float(quotient.max()), spread_of(z)
        relative = value * spread / scale if scale > 0 else math.nan
        pair = int(history.index[first]), int(history.index[second])
        rows.append((int(epoch), value, relative, *pair))
    return pd.DataFrame(rows, columns=["epoch", "quotient", "relative", "first", "second"])


def spread_of(values: Tensor) -> float:
    """Root of the mean squared distance of rows ``(n, ...)`` from their mean."""
    flat = values.flatten(1).double()
    return float((flat - flat.mean(0)).square().sum(1).mean().sqrt())


def exponent(epochs: np.ndarray, values: np.ndarray) -> Estimate:
    """p of values ~ epochs^p, by least squares in logarithms, with the interval of
    :func:`~latentrun.functional.statistics.regression.trend`.

    >>> round(exponent(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 4.0, 16.0, 64.0])).value, 9)
    2.0
    """
    return trend(np.log(epochs), np.log(values), "epochs")


# ---------------------------------------------------------------- the report
def steepness_metrics(name: str, found: Steepness) -> dict[str, Estimate]:
    """Of one map."""
    metrics = {f"lower.{name}": Estimate(found.lower), f"quotient.{name}": Estimate(found.quotient)}
    for part, share in SHARES.items():
        metrics[f"slope.{name}.{part}"] = quantile_interval(found.slopes, share, "points")
    if found.upper is not None:
        metrics[f"upper.{name}"] = Estimate(found.upper)
        if found.upper > 0:
            metrics[f"tightness.{name}"] = Estimate(found.lower / found.upper)
    return metrics


def point_table(measured: dict[str, Steepness]) -> pd.DataFrame:
    """A row for each map and point."""
    tables = [
        pd.DataFrame({"map": name, "point": np.arange(len(found.slopes)), "slope": found.slopes})
        for name, found in measured.items()
    ]
    return pd.concat(tables, ignore_index=True)


def map_table(measured: dict[str, Steepness]) -> pd.DataFrame:
    """A row for each map; ``first`` and ``second``: the points of the largest quotient."""
    rows = [
        {
            "map": name,
            "lower": found.lower,
            "steepest": float(found.slopes.max()),
            "quotient": found.quotient,
            "first": found.pair[0],
            "second": found.pair[1],
            "upper": math.nan if found.upper is None else found.upper,
            "not_bounded": found.why,
        }
        for name, found in measured.items()
    ]
    return pd.DataFrame(rows)

"""How a decoder stretches its latent space, and where it is uncertain."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.metric_map_draws import concentration
from latentrun.diagnostics.decoder.metric_map_measure import (
    Plane,
    Sizes,
    Surroundings,
    plane_of,
    sizes_at,
    surroundings,
)
from latentrun.diagnostics.needs import ENCODER, LABELS
from latentrun.diagnostics.surface import SURFACE, Decoded, surface_of
from latentrun.errors import NothingToMeasure
from latentrun.functional.distances.two_sample import auc
from latentrun.functional.factors import factor_table
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.intervals import share_interval
from latentrun.functional.statistics.quantiles import quantile_interval
from latentrun.judgement import Condition, Rule, Weight
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

FEW = 20  # points off the data, or codes, of which nothing is said
ODDITY = "Arvanitidis et al. 2018, arXiv 1710.11379"
KINDS = {"code": "held-out codes", "off": "points off the data"}
SHARES = {"p05": 0.05, "median": 0.5, "p95": 0.95}


class MetricMap(Diagnostic):
    """How does the decoder stretch its latent space, and is it uncertain where there are no data?

    The metric at a point is M = J_mu' J_mu + J_sigma' J_sigma of mean and (where it changes with z) standard
    deviation of p(x|z), in the coordinates of the latent space's chart; the magnification log sqrt det M is
    the logarithm of the data volume that a unit of latent volume is decoded to; the ``deviation`` is the root
    of the mean variance of x given z over data dimensions, in data units.

    *On and off the data.* On are up to ``rows`` held-out codes of ``split``, evenly spaced. Off are
    ``points`` drawn uniformly from the smallest box, along the coordinates, that holds all training and
    held-out codes, each side ``reach`` times as long (but within the coordinates' ranges), and kept where
    they are farther than ``threshold`` from every code: the quantile ``beyond`` of the distances of held-out
    codes to the nearest training code. ``auroc.deviation``, ``auroc.magnification``: the chance that a point
    off the data has the larger one than a held-out code, ties half: 1 where a threshold tells them apart, 0.5
    for no relation.

    *At held-out codes:* ``condition`` (greatest over least eigenvalue of M) and ``anisotropy`` (1 - geometric
    / arithmetic mean of the eigenvalues), both of the metrics that are not ``singular`` (least eigenvalue
    below 1e-12 of the greatest, where rounding hides it).

    *Of random draws* f = mu + sigma * eps (the same eps at all z): the coefficient of variation of their
    metric over eps, sqrt(sum var M_ij) / ||E M||, exact, at ``jacobians`` held-out codes, from growing parts
    of the data dimensions, in an order of its own at each code. ``concentration.slope`` is that of its
    logarithm against that of their number, -1/2 for dimensions that are alike; ``concentration.cv`` its value
    for all.
    """

    requires = (*SURFACE, ENCODER)
    uses = (LABELS,)
    metrics: ClassVar = {
        "auroc": Metric(
            "share of pairs of a point off the data and a held-out code of which the first has more",
            0,
            1,
            "higher",
            f"{ODDITY}, figure 4",
        ),
        "threshold": Metric("distance from every code beyond which a point is off the data, latent units", 0),
        "off": Metric("share of the enlarged box of the codes that is off the data", 0, 1),
        "magnification": Metric(
            "log of the data volume of a unit of latent volume, median over points", source=f"{ODDITY}, eq. 6"
        ),
        "deviation": Metric(
            "standard deviation of x given z, root mean square over data dimensions, data units, median over "
            "points",
            0,
        ),
        "condition": Metric("greatest over least eigenvalue of the metric, quantiles over codes", 1),
        "anisotropy": Metric(
            "1 - geometric / arithmetic mean of the metric's eigenvalues, quantiles over codes", 0, 1
        ),
        "singular": Metric("share of held-out codes at which the metric is singular", 0, 1, "lower"),
        "concentration": Metric(
            "coefficient of variation of the metric of a draw: `cv` with all data dimensions, `slope` of its "
            "logarithm against that of their number; means over codes",
            source=f"{ODDITY}, theorem 2",
        ),
    }
    rules: ClassVar = (
        Rule(
            "uncertain_off_data",
            Weight.GOOD,
            (Condition("auroc.deviation", over=0.9),),
            lambda values: (
                f"The decoder is uncertain where there are no codes (AUROC {values['auroc.deviation']:.2f}): "
                "its distances lead around empty regions."
            ),
        ),
        Rule(
            "arbitrary_off_data",
            Weight.HINT,
            (Condition("auroc.deviation", under=0.75),),
            lambda values: (
                "The decoder's standard deviation hardly says where there are no codes (AUROC "
                f"{values['auroc.deviation']:.2f}): distances may lead through empty regions; model=rbf_vae "
                "has one that grows there."
            ),
        ),
    )

    def __init__(
        self,
        split: Literal["val", "test"],
        rows: Annotated[int, Count(FEW)],
        points: Annotated[int, Count(FEW)],
        reach: Annotated[float, Ge(1)],
        beyond: Annotated[float, Between(0, 1)],
        jacobians: Annotated[int, Count(2)],
        sizes: Annotated[int, Count(3, 100)],
        grid: Annotated[int, Count(4, 1000)],
        shown: Annotated[int, Count(0, 100_000)],
    ):
        self.split, self.rows, self.points = split, rows, points
        self.reach, self.beyond = reach, beyond
        self.jacobians, self.sizes, self.grid, self.shown = jacobians, sizes, grid, shown

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise, decoded = noise.to(run.device), surface_of(run)
        codes = decoded.codes(self.split)
        if len(codes) < FEW:
            raise NothingToMeasure(f"{len(codes)} codes of the {self.split} split; {FEW} are needed")
        held_out = codes[evenly(len(codes), self.rows).to(codes.device)]
        around = surroundings(
            decoded, held_out, decoded.codes("train"), self.points, self.reach, self.beyond, noise
        )
        on, off = sizes_at(decoded, held_out), sizes_at(decoded, around.off)
        plane = plane_of(codes, around.box, decoded.chart.names, self.reach)
        tables = {"points": points_table(on, off, around)}
        metrics = place_metrics(on, off, around) | metric_sizes(on)
        notes = self._notes(decoded, held_out, on, off, around, plane)
        if on.deviation is not None:
            scatter = concentration(
                decoded,
                held_out[evenly(len(held_out), self.jacobians).to(held_out.device)],
                self.sizes,
                noise,
            )
            tables["concentration"], metrics = scatter.table(), metrics | scatter.metrics()
        more, arrays = self._shown(run, decoded, codes, plane)
        return Report(metrics, tables | more, arrays | mapped(decoded, plane, self.grid), notes=notes)

    def _shown(
        self, run: Run, decoded: Decoded, codes: Tensor, plane: Plane
    ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
        """Codes in the plane, and what colours them: the labels, else the first factor, if there is one."""
        rows = evenly(len(codes), self.shown)
        latents = run.latents(self.split)
        labels = None if latents.labels is None else latents.labels.cpu().numpy()
        known = targets(run.data.factors, run.data.label, latents.y.cpu().numpy(), labels)
        named = [target for target in known if target[0].name == run.data.label] or known
        arrays = {"codes": plane.places(codes[rows.to(codes.device)]).cpu().float().numpy()}
        if not named:
            return {}, arrays
        factor, values = named[0]
        arrays["values"] = values[rows.numpy()].astype(np.float32)
        return {"colour": factor_table([factor])}, arrays

    def _notes(
        self,
        decoded: Decoded,
        held_out: Tensor,
        on: Sizes,
        off: Sizes,
        around: Surroundings,
        plane: Plane,
    ) -> tuple[str, ...]:
        notes = [
            f"{len(held_out):,} codes of the {self.split} split against {len(around.off):,} points farther "
            f"than {around.threshold:.3g} from every code (quantile {self.beyond:g} of the distances of "
            f"held-out codes to the nearest training code), from the codes' box, {self.reach:g} times as long"
        ]
        if len(around.off) < FEW:
            notes.append(f"only {len(around.off)} of {around.drawn:,} points of the box are off the data")
        if on.deviation is None:
            notes.append("the standard deviation of x given z is the same everywhere: only the mean counts")
        if plane.share < 1:
            notes.append(
                f"the map is drawn in the plane of the two directions of largest variance ({plane.share:.0%} "
                "of it) through the mean code"
            )
        lost = int(sum(sizes.eigenvalues.isnan().any(1).sum() for sizes in (on, off)))
        if lost:
            notes.append(f"{lost} points at which the metric is no number are left out")
        if decoded.surface.dim == 1:
            notes.append("one latent variable: its metric is a number, and has no condition")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.metric_map_plot import pictures

        return pictures(report, KINDS)


# ---------------------------------------------------------------- numbers
def known(values: Tensor) -> np.ndarray:
    """Those that are numbers."""
    found = values.numpy()
    return found[np.isfinite(found)]


def place_metrics(on: Sizes, off: Sizes, around: Surroundings) -> dict[str, Estimate]:
    """What holds on the data, off them, and between both."""
    metrics = {
        "threshold": Estimate(around.threshold),
        "off": share_interval(around.found, around.drawn, "drawn points"),
    }
    pairs = {"magnification": (on.magnification, off.magnification)}
    if on.deviation is not None and off.deviation is not None:
        pairs["deviation"] = (on.deviation, off.deviation)
    for name, (inside, outside) in pairs.items():
        # A singular metric has magnification -inf, which is less than any other: it stays in the ranks.
        scores = [values[~values.isnan()].numpy() for values in (outside, inside)]
        if min(map(len, scores)) >= FEW:
            metrics[f"auroc.{name}"] = auc(*scores)
        for place, values in (("codes", inside), ("off", outside)):
            if len(known(values)):
                metrics[f"{name}.{place}"] = quantile_interval(known(values), 0.5, "points")
    return metrics


def metric_sizes(on: Sizes) -> dict[str, Estimate]:
    """Of the metric at held-out codes."""
    there = ~on.eigenvalues.isnan().any(1)
    n, singular = int(there.sum()), on.is_singular & there
    metrics = {"singular": share_interval(int(singular.sum()), n, "codes")} if n else {}
    if on.eigenvalues.shape[1] < 2:
        return metrics
    for name, values in (("condition", on.condition), ("anisotropy", on.anisotropy)):
        regular = known(values[there & ~singular])
        if len(regular):
            metrics |= {
                f"{name}.{part}": quantile_interval(regular, share, "codes") for part, share in SHARES.items()
            }
    return metrics


# ---------------------------------------------------------------- tables and maps
def points_table(on: Sizes, off: Sizes, around: Surroundings) -> pd.DataFrame:
    """A row for each held-out code and each point off the data."""
    parts = []
    for kind, sizes, gap in (("code", on, around.code_gap), ("off", off, around.gap)):
        columns = {
            "gap": gap.cpu().numpy(),
            "magnification": sizes.magnification.numpy(),
            "condition": sizes.condition.numpy(),
            "anisotropy": sizes.anisotropy.numpy(),
        }
        if sizes.deviation is not None:
            columns["deviation"] = sizes.deviation.numpy()
        parts.append(pd.DataFrame({"kind": kind} | columns))
    return pd.concat(parts, ignore_index=True).replace([np.inf, -np.inf], np.nan)


def mapped(decoded: Decoded, plane: Plane, points: int) -> dict[str, np.ndarray]:
    """Magnification and, where it changes, standard deviation over the plane: ``(points, points)``, the first
    coordinate along the columns; of a curve ``(points,)``."""
    side = points if plane.axes.shape[0] > 1 else points**2
    c = decoded.chart.within(plane.at(plane.grid(side)))
    sizes = sizes_at(decoded, c)
    shape = (side,) * plane.axes.shape[0]
    found = {"magnification": sizes.magnification, "deviation": sizes.deviation}
    maps = {
        f"map_{name}": values.view(shape).T.float().numpy() if len(shape) > 1 else values.float().numpy()
        for name, values in found.items()
        if values is not None
    }
    return maps | {"ends": plane.ends.cpu().double().numpy(), "names": np.array(plane.names)}

"""The law of lost variance, over many runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Comparison, Group, groups, reports
from latentrun.config.bounds import Gt
from latentrun.diagnostics.needs import ENCODER
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.methods import BOOTSTRAP, EXAMPLES
from latentrun.functional.statistics.ranking import mean_over
from latentrun.functional.statistics.regression import through_origin
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "variance_loss"
SOURCE = "Asperti, Variance Loss in Variational Autoencoders, 2020, arXiv 2002.09860"
KINDS = ("mean", "posterior")  # reconstructions; samples belong to no example and have no error
# Columns of the diagnostic's summary, by their names here.
SUMMARY = {
    "kind": "kind",
    "mse": "mse",
    "mse_low": "mse_low",
    "mse_high": "mse_high",
    "delta_var": "delta_var",
    "low": "delta_var_low",
    "high": "delta_var_high",
    "ratio": "ratio",
    "ratio_low": "ratio_low",
    "ratio_high": "ratio_high",
}
OF_ONE = f"{BOOTSTRAP} over {EXAMPLES}"  # the interval of the ratio of a single run
HOLDS, FAILS, OPEN = "holds", "fails", "undecided"


class VarianceLossSurvey(Comparison):
    """Do reconstructions lose as much variance as they err, whatever the model?

    Each run gives a point (mse, delta_var) of its diagnostic ``variance_loss`` for each kind of
    reconstruction: ``mean``, decoded from mu(x), ``posterior``, decoded from z ~ q(z|x). Where a decoder
    gives E[x|z], delta_var = mse (law of total variance).

    ``slope`` of delta_var = slope * mse, least squares through the origin over all runs, interval by
    Student's t over runs. ``ratio`` = mean over runs of delta_var / mse, interval by t over runs. For every
    group of runs that differ in the seed only: the mean ratio with its interval, by t over the runs where
    there are several, else the bootstrap over examples of the one run. The law ``holds`` where that interval
    lies within 1 +- ``tolerance``, ``fails`` where it lies outside, and is ``undecided`` between the two, or
    without an interval.
    """

    requires = (ENCODER,)
    needs = (DIAGNOSTIC,)
    metrics = {
        "slope": Metric(
            "delta_var / mse, least squares through the origin over runs",
            better="one",
            source=SOURCE,
        ),
        "ratio": Metric("delta_var / mse, mean over runs", better="one", source=SOURCE),
        "holding": Metric("share of the groups in which the law holds", 0.0, 1.0),
        "failing": Metric("share of the groups in which the law fails", 0.0, 1.0),
    }

    def __init__(self, tolerance: Annotated[float, Gt(0)]):
        self.tolerance = tolerance

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        measured = zip(runs, reports(runs, DIAGNOSTIC), strict=True)
        summaries = {id(run): report.tables["summary"] for run, report in measured}
        points = pd.concat(
            [of_run(group, run, summaries[id(run)]) for group in groups(runs) for run in group.runs.values()]
        )
        by_group = points.groupby(["group", "kind"], sort=False)
        table = pd.DataFrame([group_row(rows, self.tolerance) for _, rows in by_group])
        metrics = {}
        for kind, rows in points.groupby("kind", sort=False):
            metrics |= kind_metrics(kind, rows, table.loc[table["kind"] == kind, "law"])
        notes = (
            f"The law holds where the interval of delta_var / mse lies within 1 +- {self.tolerance:g}, and "
            "fails where it lies outside.",
            "A decoder trained on sampled codes aims at E[x|z] for z ~ q(z|x): `posterior` is where to "
            "expect the law; for autoencoders without posterior it is `mean`.",
        )
        tables = {"groups": table, "runs": points}
        return Report(metrics, tables, {"tolerance": np.array(self.tolerance)}, notes=notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.variance_loss_survey_plot import law, ratios

        points, table = report.tables["runs"], report.tables["groups"]
        tolerance = float(report.arrays["tolerance"])
        slopes = {
            key.partition(".")[2]: value for key, value in report.metrics.items() if key.startswith("slope.")
        }
        law_text = (
            "Lost variance (data minus reconstructions, mean over dimensions) against the mean squared "
            "error, a point for each run. Dashed: the law of total variance, on which a decoder that gives "
            "E[x|z] lies. Line and band: least squares through the origin over the runs, with its 95 % "
            "interval."
        )
        ratio_text = (
            "Lost variance / mean squared error of each group of runs: mean over its runs with the 95 % "
            f"interval over runs (of a single run: over examples). Band: 1 ± {tolerance:g}. Filled: the "
            "interval lies within the band, the law holds; cross: it lies outside, the law fails; hollow: "
            "undecided."
        )
        return {
            "law": Picture(law(points, slopes), law_text),
            "ratios": Picture(ratios(table, tolerance), ratio_text),
        }


# ---------------------------------------------------------------- numbers
def kind_metrics(kind: str, points: pd.DataFrame, laws: pd.Series) -> dict[str, Estimate]:
    """Of one kind of reconstruction: the points of all runs, and the verdict of each group."""
    return {
        f"slope.{kind}": through_origin(points["mse"].to_numpy(), points["delta_var"].to_numpy(), "runs"),
        f"ratio.{kind}": mean_over(points["ratio"].to_numpy(), "runs"),
        f"holding.{kind}": Estimate((laws == HOLDS).mean()),
        f"failing.{kind}": Estimate((laws == FAILS).mean()),
    }


def group_row(points: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    """The row of one group and kind, made of the points of its runs."""
    ratio, first = mean_over(points["ratio"].to_numpy(), "runs"), points.iloc[0]
    if len(points) == 1:
        ratio = Estimate.read(ratio.value, first["ratio_low"], first["ratio_high"], OF_ONE)
    return {
        "group": first["group"],
        "kind": first["kind"],
        "n": len(points),
        "mse": points["mse"].mean(),
        "delta_var": points["delta_var"].mean(),
        **ratio.columns("ratio"),
        "law": verdict(ratio, tolerance),
    }


def of_run(group: Group, run: Run, summary: pd.DataFrame) -> pd.DataFrame:
    """The points of one run, a row for each kind of reconstruction it has."""
    points = summary.loc[summary["kind"].isin(KINDS), list(SUMMARY)].rename(columns=SUMMARY)
    points.insert(0, "run", run.name)
    points.insert(1, "group", group.name)
    return points


def verdict(ratio: Estimate, tolerance: float) -> str:
    """Whether an interval says that a ratio is 1 within the tolerance."""
    if ratio.low is None or ratio.high is None or not np.isfinite([ratio.low, ratio.high]).all():
        return OPEN
    if 1 - tolerance <= ratio.low and ratio.high <= 1 + tolerance:
        return HOLDS
    return FAILS if ratio.high < 1 - tolerance or ratio.low > 1 + tolerance else OPEN

"""The law of lost variance, over many runs."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Comparison, Group, groups, reports
from latentrun.config.bounds import Gt
from latentrun.diagnostics.needs import ENCODER
from latentrun.functional.statistics.ranking import over_seeds
from latentrun.functional.statistics.regression import through_origin
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "variance_loss"
SOURCE = "Asperti, Variance Loss in Variational Autoencoders, 2020, arXiv 2002.09860"
KINDS = ("mean", "posterior")  # reconstructions; samples belong to no example and have no error
# columns of the diagnostic's summary, by their names here
SUMMARY = {
    name: name
    for name in (
        "kind",
        "mse",
        "mse_low",
        "mse_high",
        "delta_var",
        "low",
        "high",
        "ratio",
        "ratio_low",
        "ratio_high",
    )
}
SUMMARY |= {"low": "delta_var_low", "high": "delta_var_high"}
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
            "delta_var / mse, least squares through the origin over runs; interval: t over runs",
            better="one",
            source=SOURCE,
        ),
        "ratio": Metric(
            "delta_var / mse, mean over runs; interval: t over runs", better="one", source=SOURCE
        ),
        "holding": Metric("share of the groups in which the law holds", 0.0, 1.0),
        "failing": Metric("share of the groups in which the law fails", 0.0, 1.0),
    }

    def __init__(self, tolerance: Annotated[float, Gt(0)]):
        self.tolerance = tolerance

    def __call__(self, runs, noise):
        tables = {
            id(run): report.tables["summary"]
            for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)
        }
        points = pd.concat(
            [of_run(group, run, tables[id(run)]) for group in groups(runs) for run in group.runs.values()]
        )
        found = pd.DataFrame([self._judged(own) for _, own in points.groupby(["group", "kind"], sort=False)])
        metrics = {}
        for kind, own in points.groupby("kind", sort=False):
            metrics[f"slope.{kind}"] = through_origin(own["mse"].to_numpy(), own["delta_var"].to_numpy())
            metrics[f"ratio.{kind}"] = over_runs(own["ratio"].to_numpy())
            laws = found.loc[found["kind"] == kind, "law"]
            metrics |= {
                f"holding.{kind}": Estimate((laws == HOLDS).mean()),
                f"failing.{kind}": Estimate((laws == FAILS).mean()),
            }
        notes = (
            "The law holds where the interval of delta_var / mse lies within 1 +- "
            f"{self.tolerance:g}, and fails where it lies outside.",
            "A decoder trained on sampled codes aims at E[x|z] for z ~ q(z|x): `posterior` is where "
            "to expect the law; for "
            "autoencoders without posterior it is `mean`.",
        )
        return Report(
            metrics, {"groups": found, "runs": points}, {"tolerance": np.array(self.tolerance)}, notes=notes
        )

    def _judged(self, own: pd.DataFrame) -> dict:
        """The row of one group and kind."""
        ratio = over_runs(own["ratio"].to_numpy())
        if len(own) == 1:
            ratio = Estimate(ratio.value, own["ratio_low"].iloc[0], own["ratio_high"].iloc[0])
        first = own.iloc[0]
        found = {
            "group": first["group"],
            "kind": first["kind"],
            "n": len(own),
            "mse": own["mse"].mean(),
            "delta_var": own["delta_var"].mean(),
        }
        law = verdict(ratio, self.tolerance)
        return {**found, "ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high, "law": law}

    def plot(self, report):
        from latentrun.comparisons.variance_loss_survey_plot import law, ratios

        points, found = report.tables["runs"], report.tables["groups"]
        slopes = {
            key.partition(".")[2]: value for key, value in report.metrics.items() if key.startswith("slope.")
        }
        tolerance = float(report.arrays["tolerance"])
        return {
            "law": Picture(
                law(points, slopes),
                "Lost variance (data minus reconstructions, mean over pixels) against the mean "
                "squared error, a point for each run. "
                "Dashed: the law of total variance, on which a decoder that gives E[x|z] lies. Line "
                "and band: least squares through the "
                "origin over the runs, with its 95 % interval.",
            ),
            "ratios": Picture(
                ratios(found, tolerance),
                "Lost variance / mean squared error of each group of runs: mean over its runs with "
                "the 95 % interval over runs (of a "
                f"single run: over examples). Band: 1 ± {tolerance:g}. Filled: the interval lies "
                "within the band, the law holds; cross: "
                "it lies outside, the law fails; hollow: undecided.",
            ),
        }


def of_run(group: Group, run: Run, summary: pd.DataFrame) -> pd.DataFrame:
    """The points of one run, a row for each kind of reconstruction it has."""
    own = summary.loc[summary["kind"].isin(KINDS), list(SUMMARY)].rename(columns=SUMMARY)
    own.insert(0, "run", run.name)
    own.insert(1, "group", group.name)
    return own


def over_runs(values: np.ndarray) -> Estimate:
    """Mean over runs ``(n,)`` with Student's 95 % interval; none for a single run."""
    mean, _, n, low, high = (float(column[0]) for column in over_seeds(values[None].astype(float)))
    return Estimate(mean, low, high) if n > 1 else Estimate(mean)


def verdict(ratio: Estimate, tolerance: float) -> str:
    """Whether an interval says that a ratio is 1 within the tolerance."""
    if ratio.low is None or not np.isfinite([ratio.low, ratio.high]).all():
        return OPEN
    if 1 - tolerance <= ratio.low and ratio.high <= 1 + tolerance:
        return HOLDS
    return FAILS if ratio.high < 1 - tolerance or ratio.low > 1 + tolerance else OPEN

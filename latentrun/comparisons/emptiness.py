"""How empty the hulls of several models' codes are, and what is decoded there, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Candidate, Comparison, Group, groups, reports
from latentrun.config.bounds import Count
from latentrun.data.base import Oracle
from latentrun.diagnostics.needs import ENCODER, FLAT
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.ranking import mean_over, over_seeds
from latentrun.run import Run
from latentrun.types import Metric, Picture, Report

DIAGNOSTIC = "density"
REGIONS = {"hull": "hull of all codes", "core": "hull of the core"}
KINDS = {
    "near": "near codes",
    "empty": "in the hull's empty regions",
    "prior": "from the prior or its stand-in",
}
WIDEST = 0.999  # curves end where so large a share of every run's values lies below


@dataclass(frozen=True)
class Member:
    """A group of runs and what ``density`` found about each of them."""

    group: Group
    reports: list[Report]


class Emptiness(Comparison):
    """How empty are the hulls of the groups' codes, and what is decoded in the empty regions?

    Of every run its diagnostic ``density``: points drawn evenly from the hull of the whitened codes (and from
    that of their core) with their distance r to the nearest code, and decoded points near codes, in empty
    regions and from the prior with their distance from the data. ``gap`` = mean of r over the volume, the
    area under the curve "share of the volume farther than r"; ``miss`` = mean distance of the decoded points
    from the data: the residual, a share of the picture's norm, where there is an oracle, else the distance to
    the nearest training example in data units. Means over the runs of a group with Student's 95 % interval,
    none for a single run; so are the curves, at ``points`` places, mean and interval at each place by itself.
    """

    requires = (ENCODER, FLAT)
    needs = (DIAGNOSTIC,)
    metrics = {
        "gap": Metric(
            "whitened units to the nearest code, mean over the hull's volume and over runs",
            0.0,
            None,
            "lower",
        ),
        "gap_core": Metric("the same over the hull of the core of the codes", 0.0, None, "lower"),
        **{
            f"miss_{kind}": Metric(
                f"distance from the data, mean over decoded points {text} and over runs", 0.0, None, "lower"
            )
            for kind, text in KINDS.items()
        },
    }

    def __init__(self, points: Annotated[int, Count(2)]):
        self.points = points

    def check(self, candidates: Sequence[Candidate]) -> None:
        super().check(candidates)
        require_one_measure({isinstance(candidate.data, Oracle) for candidate in candidates})

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        members = members_of(runs)
        measure = measure_of([report for member in members for report in member.reports])
        metrics, curves = {}, []
        for what, metric, values in [*gaps_of(members), *misses_of(members)]:
            for group, distances in values.items():
                metrics[f"{metric}.{group}"] = mean_over(np.array([run.mean() for run in distances]), "runs")
            curves += self._curves(what, values)
        sizes = "; ".join(f"{member.group.name} ({len(member.reports)})" for member in members)
        notes = (
            f"Groups and their number of runs: {sizes}.",
            f"Decoded points are measured by their {measure}.",
        )
        tables = {"curves": pd.concat(curves, ignore_index=True)}
        return Report(metrics, tables, pictures_of(members), notes=notes)

    def _curves(self, what: str, values: Mapping[str, Sequence[np.ndarray]]) -> list[pd.DataFrame]:
        """The share of each group's values above every place, mean and interval over its runs."""
        if not values:
            return []
        most = max(np.quantile(run, WIDEST) for runs in values.values() for run in runs)
        places = np.linspace(0, most, self.points)
        return [share_curve(what, group, runs, places) for group, runs in values.items()]

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.emptiness_plot import decoded, emptiness, side_by_side

        curves, pictures = report.tables["curves"], {}
        regions = curves_in_words(curves, REGIONS)
        if regions:
            pictures["emptiness"] = emptiness(regions)
        pictures["decoded"] = decoded(curves_in_words(curves, KINDS))
        if "value_range" in report.arrays:
            pictures["pictures"] = side_by_side(curves["group"].unique(), report.arrays, KINDS)
        return pictures


# ---------------------------------------------------------------- what was measured
def members_of(runs: Sequence[Run]) -> list[Member]:
    """The groups with their reports."""
    report_by_run = {id(run): report for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)}
    return [Member(group, [report_by_run[id(run)] for run in group.runs.values()]) for group in groups(runs)]


def measure_of(density: Sequence[Report]) -> str:
    """By what decoded points are measured; InputError where that is not the same everywhere."""
    measures = {report.tables["points"].columns[-1] for report in density}
    require_one_measure(measures)
    return measures.pop()


def require_one_measure(measures: Set[Any]) -> None:
    """InputError where decoded points are measured in two ways."""
    if len(measures) > 1:
        raise InputError(
            "some runs have an oracle and others have none: their decoded points are measured in different "
            "units"
        )


Values = dict[str, list[np.ndarray]]  # of each group with any, an array a run


def gaps_of(members: Sequence[Member]) -> list[tuple[str, str, Values]]:
    """Of each region its name, its metric and the distances of its points to the nearest code."""
    rows = []
    for region in REGIONS:
        key = f"gap_{region}"
        values = {
            member.group.name: [report.arrays[key] for report in member.reports if key in report.arrays]
            for member in members
        }
        metric = "gap" if region == "hull" else "gap_core"
        rows.append((region, metric, {group: runs for group, runs in values.items() if runs}))
    return rows


def misses_of(members: Sequence[Member]) -> list[tuple[str, str, Values]]:
    """Of each kind of decoded points its name, its metric and their distances from the data."""
    rows = []
    for kind in KINDS:
        values: Values = {}
        for member in members:
            misses = [misses_in(report, kind) for report in member.reports]
            values[member.group.name] = [miss for miss in misses if len(miss)]
        rows.append((kind, f"miss_{kind}", {group: runs for group, runs in values.items() if runs}))
    return rows


def misses_in(report: Report, kind: str) -> np.ndarray:
    points = report.tables["points"]
    return points.loc[points["kind"] == kind, points.columns[-1]].to_numpy(dtype=float)


# ---------------------------------------------------------------- the report
def share_curve(what: str, group: str, runs: Sequence[np.ndarray], places: np.ndarray) -> pd.DataFrame:
    """The share of the values of each run above ``places (P,)``, mean and interval over runs."""
    above = [1 - np.searchsorted(np.sort(run), places, side="right") / len(run) for run in runs]
    seen = over_seeds(np.stack(above, axis=1), share=True, over="runs")
    return pd.DataFrame(
        {
            "what": what,
            "group": group,
            "place": places,
            "share": seen.mean,
            "low": seen.low,
            "high": seen.high,
            "n": seen.n,
        }
    )


def pictures_of(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """What the first run of each group decodes, of each kind; where that are pictures."""
    arrays: dict[str, np.ndarray] = {}
    for number, member in enumerate(members):
        first = member.reports[0].arrays
        for kind in KINDS:
            shown = first.get(f"shown_{kind}")
            if shown is not None and shown.ndim == 4:
                arrays |= {
                    f"shown_{number}_{kind}": shown,
                    f"miss_{number}_{kind}": first[f"shown_{kind}_miss"],
                    "value_range": first["value_range"],
                }
    return arrays


def curves_in_words(curves: pd.DataFrame, words: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The curves of what ``words`` has a name for, under that name."""
    parts = {text: curves[curves["what"] == what] for what, text in words.items()}
    return {text: part for text, part in parts.items() if len(part)}

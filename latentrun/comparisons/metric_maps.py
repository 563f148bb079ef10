"""How several decoders stretch their latent spaces, and where they are uncertain, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Comparison, Group, groups, reports
from latentrun.diagnostics.needs import ENCODER
from latentrun.diagnostics.surface import SURFACE
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.ranking import mean_over
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "metric_map"
SHOWN = ("auroc.magnification", "auroc.deviation", "deviation.codes", "deviation.off")
KEPT = ("ends", "codes", "values")  # of its arrays, beside the maps


class MetricMaps(Comparison):
    """Which decoder is uncertain where there are no data, and stretches there?

    Of every run its diagnostic ``metric_map``. ``auroc`` of magnification and of standard deviation: the
    share of pairs of a point off the data and a held-out code of which the first has more, 1 where a decoder
    knows what it has not seen; ``deviation``: medians of the standard deviation of x given z at held-out
    codes and off the data. Means over the runs of a group with Student's 95 % interval, none for a single
    run. Drawn: the maps of the first run of each group that has a plane, in the same shades.
    """

    requires = (*SURFACE, ENCODER)
    needs = (DIAGNOSTIC,)
    metrics: ClassVar = {
        "auroc": Metric(
            "share of pairs of a point off the data and a held-out code of which the first has more, mean "
            "over runs",
            0,
            1,
            "higher",
        ),
        "deviation": Metric(
            "standard deviation of x given z, data units, median over points, mean over runs", 0
        ),
    }

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        by_run = {id(run): report for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)}
        members = [(group, [by_run[id(run)] for run in group.runs.values()]) for group in groups(runs)]
        means = [(group, name, mean) for group, found in members for name, mean in means_of(found).items()]
        drawn = [(group, found[0]) for group, found in members if found[0].arrays["ends"].shape[1] == 2]
        sizes = "; ".join(f"{group.name} ({len(found)})" for group, found in members)
        return Report(
            {f"{name}.{group.name}": mean for group, name, mean in means},
            {"groups": groups_table(means)} | colours_of([report for _, report in drawn]),
            maps_by_number(drawn),
            notes=(f"Groups and their number of runs: {sizes}.",),
        )

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.metric_maps_plot import maps

        return {"maps": maps(report)} if len(report.arrays.get("drawn", ())) else {}


def means_of(found: Sequence[Report]) -> dict[str, Estimate]:
    """Of the metrics that all runs of a group have."""
    return {
        name: mean_over(np.array([report.metrics[name].value for report in found]), "runs")
        for name in SHOWN
        if all(name in report.metrics for report in found)
    }


def groups_table(means: Sequence[tuple[Group, str, Estimate]]) -> pd.DataFrame:
    """A row for each group and metric."""
    rows = [
        (group.name, name, mean.value, mean.low, mean.high, len(group.runs)) for group, name, mean in means
    ]
    return pd.DataFrame(rows, columns=["group", "metric", "value", "low", "high", "runs"])


def maps_by_number(drawn: Sequence[tuple[Group, Report]]) -> dict[str, np.ndarray]:
    """What is drawn of each group, by its number, and the groups' names."""
    if not drawn:
        return {}
    kept = {
        f"{name}_{number}": values
        for number, (_, report) in enumerate(drawn)
        for name, values in report.arrays.items()
        if name in KEPT or name.startswith("map_")
    }
    return kept | {
        "names": drawn[0][1].arrays["names"],
        "drawn": np.array([group.name for group, _ in drawn]),
    }


def colours_of(drawn: Sequence[Report]) -> dict[str, pd.DataFrame]:
    """The factor that colours the codes, where it is the same in all that are drawn."""
    tables = [report.tables["colour"] for report in drawn if "colour" in report.tables]
    same = len(tables) == len(drawn) and all(table.equals(tables[0]) for table in tables)
    return {"colour": tables[0]} if tables and same else {}

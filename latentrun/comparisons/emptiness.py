"""How empty the hulls of several models' codes are, and what is decoded there, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Comparison, Group, groups, reports
from latentrun.config.bounds import Ge
from latentrun.diagnostics.needs import ENCODER
from latentrun.errors import InputError
from latentrun.functional.statistics.ranking import over_seeds
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "density"
REGIONS = {"hull": "hull of all codes", "core": "hull of the core"}
KINDS = {
    "near": "near codes",
    "empty": "in the hull's empty regions",
    "prior": "from the prior or its stand-in",
}
WIDEST = 0.999  # curves end where so large a share of every run's values lies below


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

    requires = (ENCODER,)
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

    def __init__(self, points: Annotated[int, Ge(2)]):
        self.points = points

    def __call__(self, runs, noise):
        measured = {id(run): report for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)}
        found = groups(runs)
        first = next(iter(measured.values())).tables.get("points")
        if any("points" not in report.tables for report in measured.values()):
            raise InputError("the codes of a run do not move: there is no density to compare")
        name = first.columns[-1]
        if any(report.tables["points"].columns[-1] != name for report in measured.values()):
            raise InputError(
                "some runs have an oracle and others have none: their decoded points are measured in "
                "different units"
            )
        own = {group.name: [measured[id(run)] for run in group.runs.values()] for group in found}
        metrics, curves = {}, []
        for region in REGIONS:
            values = {
                group: [r.arrays[f"gap_{region}"] for r in members if f"gap_{region}" in r.arrays]
                for group, members in own.items()
            }
            self._gather(values, "gap" if region == "hull" else "gap_core", region, metrics, curves)
        for kind in KINDS:
            values = {
                group: [miss for r in members if len(miss := _misses(r, kind))]
                for group, members in own.items()
            }
            self._gather(values, f"miss_{kind}", kind, metrics, curves)
        arrays = self._pictures(found, measured)
        sizes = "; ".join(f"{group.name} ({len(group.runs)})" for group in found)
        notes = (
            f"Groups and their number of runs: {sizes}.",
            f"Decoded points are measured by their {name}.",
        )
        return Report(metrics, {"curves": pd.concat(curves, ignore_index=True)}, arrays, notes=notes)

    def _gather(
        self, values: Mapping[str, Sequence[np.ndarray]], metric: str, what: str, metrics: dict, curves: list
    ) -> None:
        """The mean of each group's values, and the share of them above every place."""
        values = {group: runs for group, runs in values.items() if runs}
        if not values:
            return
        places = np.linspace(
            0, max(np.quantile(run, WIDEST) for runs in values.values() for run in runs), self.points
        )
        for group, runs in values.items():
            above = np.stack(
                [1 - np.searchsorted(np.sort(run), places, side="right") / len(run) for run in runs], axis=1
            )
            mean, _, n, low, high = over_seeds(above)
            curve = {
                "what": what,
                "group": group,
                "place": places,
                "share": mean,
                "low": low.clip(0),
                "high": high.clip(max=1),
                "n": n,
            }
            curves.append(pd.DataFrame(curve))
            mean, _, n, low, high = (
                float(column[0])
                for column in over_seeds(np.array([[run.mean() for run in runs]], dtype=float))
            )
            metrics[f"{metric}.{group}"] = Estimate(mean, low, high) if n > 1 else Estimate(mean)

    def _pictures(self, found: Sequence[Group], measured: Mapping[int, Report]) -> dict[str, np.ndarray]:
        """What the first run of each group decodes, of each kind; where that are pictures."""
        arrays: dict[str, np.ndarray] = {}
        for number, group in enumerate(found):
            report = measured[id(next(iter(group.runs.values())))]
            for kind in KINDS:
                shown = report.arrays.get(f"shown_{kind}")
                if shown is not None and shown.ndim == 4:
                    arrays |= {
                        f"shown_{number}_{kind}": shown,
                        f"miss_{number}_{kind}": report.arrays[f"shown_{kind}_miss"],
                    }
                    arrays["value_range"] = report.arrays["value_range"]
        return arrays

    # ---------------------------------------------------------------- pictures
    def plot(self, report):
        from latentrun.plotting.density import shares
        from latentrun.plotting.images import strips

        curves = report.tables["curves"]
        regions = {
            text: curves[curves["what"] == what]
            for what, text in REGIONS.items()
            if (curves["what"] == what).any()
        }
        kinds = {
            text: curves[curves["what"] == what]
            for what, text in KINDS.items()
            if (curves["what"] == what).any()
        }
        about = "Lines: means over the runs of a group; bands: 95 % intervals over runs."
        found = {}
        if regions:
            found["emptiness"] = Picture(
                shares(
                    regions,
                    "distance r to the nearest code (whitened units)",
                    "share of the volume farther than r",
                ),
                f"How empty the hulls of the codes are. {about}",
            )
        found["decoded"] = Picture(
            shares(kinds, "distance from the data", "share of decoded points above"),
            f"How far decoded points lie from the data, by where their codes are. {about}",
        )
        if "value_range" in report.arrays:
            rows, under = [], []
            for number, group in enumerate(curves["group"].unique()):
                for kind in [kind for kind in KINDS if f"shown_{number}_{kind}" in report.arrays]:
                    rows.append(
                        (f"{group}: {KINDS[kind].split(' or ')[0]}", report.arrays[f"shown_{number}_{kind}"])
                    )
                    under.append([f"{value:.3g}" for value in report.arrays[f"miss_{number}_{kind}"]])
            found["pictures"] = Picture(
                strips(rows, tuple(report.arrays["value_range"]), under=under),
                "What the first run of each group decodes, evenly from the one nearest to the data "
                "(left) to the farthest (right); "
                "beneath: its distance from the data.",
            )
        return found


def _misses(report: Report, kind: str) -> np.ndarray:
    points = report.tables["points"]
    return points.loc[points["kind"] == kind, points.columns[-1]].to_numpy(dtype=float)

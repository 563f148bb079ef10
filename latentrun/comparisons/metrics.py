"""Differences of everything that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd

from latentrun.comparisons.base import Comparison, Group, alike, common_rows, groups, reports
from latentrun.config.bounds import Ge
from latentrun.errors import InputError
from latentrun.functional.statistics.intervals import NORMAL_95, mean_interval
from latentrun.functional.statistics.ranking import holm, pairwise
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "reconstruction"  # has a table with a row for each example
MEASURES = {
    "error": "error, by example",
    "residual": "residual, by example",
}  # columns of that table, and how they are called here
EXAMPLES = "examples"  # where an interval comes from when seeds give none
NO_INTERVAL = "none: one run each"
FLAT = 1e-9  # a spread below this share of the values is rounding
COLUMNS = (
    "metric",
    "group",
    "reference",
    "value",
    "reference_value",
    "difference",
    "low",
    "high",
    "n",
    "effect",
    "p",
    "p_holm",
    "basis",
    "better",
    "direction",
    "unit",
)
EXAMPLE_COLUMNS = (
    "metric",
    "group",
    "reference",
    "difference",
    "low",
    "high",
    "n",
    "seeds",
    "effect",
    "share_lower",
    "direction",
)


class Metrics(Comparison):
    """In which metrics do the groups of runs differ, and by how much?

    Groups are the values of the settings that vary, except the seed; the first group given is the reference.
    For every metric that all runs share, ``difference`` = mean over pairs of (group - reference), a pair
    being two runs with the same seed (and the same ``pair_on``). Its 95 % interval and p come from Student's
    t over at least two pairs; without common seeds from Welch's t over independent runs (``basis`` says
    which); ``p_holm`` corrects for all tests of the table. With one run a group, seeds say nothing: then the
    interval combines the two that the metric itself has over examples (basis ``examples``), as if the runs
    had seen different examples, and tells of these two trainings only. ``effect`` = difference / root mean
    square of the two standard deviations over the runs of a group (Cohen's d).

    Where reconstruction errors of single examples are there, runs are also compared example by example,
    matched by the row number in the source: ``error_difference`` = mean over examples of (group - reference),
    errors averaged over the common seeds first; the interval is the normal approximation over examples;
    ``error_effect`` = mean / standard deviation of the differences (Cohen's d_z). ``shown``: how many metrics
    the picture has, those with the clearest differences.
    """

    metrics = {
        "error_difference": Metric(
            "units of x, ||x - xhat||_F of the group minus that of the reference; mean over examples",
            better="none",
        ),
        "error_effect": Metric(
            "standard deviations over examples of the paired differences", better="none", source="Cohen 1988"
        ),
    }

    def __init__(self, pair_on: list[str], shown: Annotated[int, Ge(1)]):
        self.pair_on, self.shown = pair_on, shown

    def __call__(self, runs, noise):
        found = groups(runs, self.pair_on)
        if len(found) < 2:
            raise InputError(
                "the runs form one group: with pair_on as it is, nothing is left that tells them apart"
            )
        measured, notes = shared_metrics(runs)
        rows = [
            row
            for name, own in measured.groupby("name", sort=False)
            for row in differences(name, own, runs, found)
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table["p_holm"] = holm(table["p"].to_numpy(float))
        examples, said = by_example(runs, found)
        metrics = {}
        for row in examples[examples["metric"] == MEASURES["error"]].itertuples():
            metrics[f"error_difference.{row.group}"] = Estimate(row.difference, row.low, row.high)
            metrics[f"error_effect.{row.group}"] = Estimate(row.effect)
        sizes = "; ".join(f"{group.name} ({len(group.runs)})" for group in found)
        first = (
            f"Groups and their number of runs: {sizes}. Differences are to {found[0].name}, paired on "
            f"{', '.join(['seed', *self.pair_on])}."
        )
        return Report(metrics, {"differences": table, "examples": examples}, notes=(first, *notes, *said))

    def plot(self, report):
        from latentrun.plotting.forest import forest

        tables = [table for table in (report.tables["examples"], report.tables["differences"]) if len(table)]
        if not tables:
            return {}
        every = pd.concat(tables)
        drawn, left = forest(every, self.shown)
        more = f" {left} more metrics are in the table." if left else ""
        return {
            "differences": Picture(
                drawn,
                f"Difference of each group to the reference ({every['reference'].iloc[0]}) with its 95 % "
                "interval, a panel for each metric in the metric's own unit; the clearest differences first "
                "(difference by half its interval). Filled: the interval leaves 0 out; hollow: it does not; "
                "grey: there is none. The arrow points to the better side, where there is one. Above each "
                "mark the effect in standard deviations over the runs of a group, where there are several; "
                f"by example: of the paired differences.{more}",
            )
        }


# ---------------------------------------------------------------- run by run
def shared_metrics(runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
    """Rows of metrics.csv of all runs, with their number ``run`` and ``name`` = diagnostic/metric: those
    metrics that every run has, measured with the same settings; and what is left out."""
    parts = [run.metrics.assign(run=number) for number, run in enumerate(runs) if len(run.metrics)]
    if not parts:
        return pd.DataFrame(columns=["name", "run"]), ["No run has metrics."]
    table = pd.concat(parts, ignore_index=True).dropna(subset="metric")
    table["name"] = table["diagnostic"] + "/" + table["metric"]
    table = table[table.groupby("name")["run"].transform("nunique") == len(runs)]
    notes = ["The runs have no metric in common."] if table.empty else []
    for diagnostic in table["diagnostic"].unique():
        differing = alike(runs, diagnostic)
        if differing:
            table = table[table["diagnostic"] != diagnostic]
            notes.append(
                f"{diagnostic} is left out, for it was measured with different settings: {differing}."
            )
    return table, notes


def differences(
    name: str, own: pd.DataFrame, runs: Sequence[Run], found: Sequence[Group]
) -> list[dict[str, Any]]:
    """One metric: every group against the first, a row each. ``own``: its rows of metrics.csv, with the
    number of the run."""
    pairs = list(dict.fromkeys(pair for group in found for pair in group.runs))
    place = {
        id(run): (g, pairs.index(pair)) for g, group in enumerate(found) for pair, run in group.runs.items()
    }
    values, errors = np.full((2, len(found), len(pairs)), np.nan)
    for row in own.itertuples():
        values[place[id(runs[row.run])]] = row.value
        errors[place[id(runs[row.run])]] = (row.high - row.low) / (2 * NORMAL_95)
    tests, unit, direction = pairwise(values), own["unit"].iloc[0], own["direction"].iloc[0]
    rows = []
    for g, group in enumerate(found[1:], 1):
        there = np.isfinite(values[[g, 0]])
        there = there & there.all(0) if tests.n[g, 0] else there
        mine, other = (values[i][kept] for i, kept in zip((g, 0), there, strict=True))
        low, high, basis = tests.low[g, 0], tests.high[g, 0], tests.test[g, 0]
        difference = tests.difference[g, 0]
        if len(mine) == len(other) == 1:
            half = NORMAL_95 * np.hypot(errors[g][there[0]], errors[0][there[1]])[0]
            low, high, basis = (
                difference - half,
                difference + half,
                EXAMPLES if np.isfinite(half) else NO_INTERVAL,
            )
        spread = (
            math.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / 2) if min(len(mine), len(other)) > 1 else 0.0
        )
        value, beside = (side.mean() if len(side) else math.nan for side in (mine, other))
        order = badness(value, direction) - badness(beside, direction)
        better = "" if not (low > 0 or high < 0) or order == 0 else group.name if order < 0 else found[0].name
        effect = difference / spread if spread > 0 else math.nan
        where = (name, group.name, found[0].name)
        numbers = (
            value,
            beside,
            difference,
            low,
            high,
            min(len(mine), len(other)),
            effect,
            tests.p[g, 0],
            math.nan,
        )
        rows.append(dict(zip(COLUMNS, (*where, *numbers, basis, better, direction, unit), strict=True)))
    return rows


def badness(value: float, direction: str) -> float:
    """A number that is lower where the value is better; always 0 where no value is better than another."""
    return {"lower": value, "higher": -value, "one": abs(value - 1), "zero": abs(value)}.get(direction, 0.0)


# ---------------------------------------------------------------- example by example
def by_example(runs: Sequence[Run], found: Sequence[Group]) -> tuple[pd.DataFrame, list[str]]:
    """Paired differences of reconstruction errors, a row for each group and measure, and what is to be said
    of them."""
    rows: list[tuple] = []
    try:
        tables = example_tables(runs)
        for group in found[1:]:
            seeds = [pair for pair in group.runs if pair in found[0].runs]
            mine, other = ([g.runs[pair] for pair in seeds or g.runs] for g in (group, found[0]))
            for measure, called in MEASURES.items():
                if not all(measure in tables[id(run)] for run in (*mine, *other)):
                    continue
                means = [
                    pd.concat([tables[id(run)][measure] for run in side], axis=1, join="inner").mean(axis=1)
                    for side in (mine, other)
                ]
                d = (means[0] - means[1]).dropna().to_numpy(copy=True)  # matched by the row number
                mean, sd = mean_interval(d), d.std(ddof=1)
                # A constant difference has no spread but that of its digits, and so no standardised effect.
                effect = mean.value / sd if sd > FLAT * abs(d).max() else math.nan
                place = (called, group.name, found[0].name)
                rows.append(
                    (
                        *place,
                        mean.value,
                        mean.low,
                        mean.high,
                        len(d),
                        len(mine),
                        effect,
                        (d < 0).mean(),
                        "lower",
                    )
                )
        notes = []
    except InputError as error:
        notes = [f"Examples are not compared: {error}."]
    return pd.DataFrame(rows, columns=list(EXAMPLE_COLUMNS)), notes


def example_tables(runs: Sequence[Run]) -> dict[int, pd.DataFrame]:
    """The errors of every run by row number, under the run's id; InputError where they are not of the same
    examples."""
    found = reports(runs, DIAGNOSTIC)
    hashes = {run.meta.get("data_hash") for run in runs}
    if (
        len(hashes) > 1 or None in hashes
    ):  # with other settings of the data, the same number must still be the same example
        common_rows(
            runs,
            runs[0].meta.get("diagnostics", {}).get(DIAGNOSTIC, {}).get("config", {}).get("split", "test"),
        )
    return {
        id(run): report.tables["errors"].set_index("index") for run, report in zip(runs, found, strict=True)
    }

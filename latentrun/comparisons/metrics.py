"""Differences of everything that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from latentrun.comparisons.base import (
    NO_INTERVAL,
    Candidate,
    Comparison,
    Group,
    alike,
    example_tables,
    groups,
    paired_examples,
    places,
    require_settings,
)
from latentrun.config import settings as grouping
from latentrun.config.bounds import Count
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.directions import DIRECTIONS
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import EXAMPLES
from latentrun.functional.statistics.ranking import Pairs, holm, pairwise
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "reconstruction"  # has a table with a row for each example
# Columns of that table, and how they are called here.
MEASURES = {"error": "error, by example", "residual": "residual, by example"}
OVER_EXAMPLES = f"both intervals over {EXAMPLES}"  # where seeds give none
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
    "method",
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
    "method",
    "n",
    "seeds",
    "effect",
    "share_lower",
    "direction",
)


@dataclass(frozen=True)
class Measured:
    """One metric of G groups: ``values`` and the ends of their intervals over examples, ``low`` and ``high
    (G, S)``, S pairs (seeds), NaN where a group has no such run; the tests of all groups with each other."""

    name: str
    unit: str
    direction: str
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tests: Pairs


class Metrics(Comparison):
    """In which metrics do the groups of runs differ, and by how much?

    Groups are the values of the settings that vary, except the seed; the first group given is the reference.
    For every metric that all runs share, ``difference`` = mean over pairs of (group - reference), a pair
    being two runs with the same seed (and the same ``pair_on``). Its 95 % interval and p come from Student's
    t over at least two pairs; without common seeds from Welch's t over independent runs (``method`` says
    which); ``p_holm`` corrects for all tests of the table. With one run a group, seeds say nothing: then the
    interval combines the two that the metric itself has over examples, whose distances from their values add
    in squares (MOVER; Donner & Zou 2012), as if the runs had seen different examples, and tells of these two
    trainings only. ``effect`` = difference / root mean
    square of the two standard deviations over the runs of a group (Cohen's d).

    Where reconstruction errors of single examples are there, runs are also compared example by example,
    matched by the row number in the source: ``error_difference`` = mean over examples of (group - reference),
    errors averaged over the common seeds first; the interval is Student's over examples, corrected for
    skewness;
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

    def __init__(self, pair_on: list[str], shown: Annotated[int, Count(1)]):
        self.pair_on, self.shown = pair_on, shown

    def check(self, candidates: Sequence[Candidate]) -> None:
        super().check(candidates)
        rows = [candidate.settings for candidate in candidates]
        require_settings(self.pair_on, rows)
        require_several(grouping.groups(rows, [candidate.name for candidate in candidates], self.pair_on))

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        members = groups(runs, self.pair_on)
        require_several(members)
        shared, notes = shared_metrics(runs)
        rows = [
            row
            for name, measured in shared.groupby("name", sort=False)
            for row in differences(name, measured, runs, members)
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table["p_holm"] = holm(table["p"].to_numpy(float))
        examples, example_notes = by_example(runs, members)
        notes += example_notes
        if table.empty and examples.empty:
            raise NothingToMeasure(" ".join(notes))
        sizes = "; ".join(f"{group.name} ({len(group.runs)})" for group in members)
        first = (
            f"Groups and their number of runs: {sizes}. Differences are to {members[0].name}, paired on "
            f"{', '.join(['seed', *self.pair_on])}."
        )
        tables = {"differences": table, "examples": examples}
        return Report(example_metrics(examples), tables, notes=(first, *notes))

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.plotting.forest import forest

        every = pd.concat(
            [table for table in (report.tables["examples"], report.tables["differences"]) if len(table)]
        )
        drawn, left = forest(every, self.shown)
        text = (
            f"Difference of each group to the reference ({every['reference'].iloc[0]}) with its 95 % "
            "interval, a panel for each metric in the metric's own unit; the clearest differences first "
            "(difference by half its interval). Filled: the interval leaves 0 out; hollow: it does not; "
            "grey: there is none. The arrow points to the better side, where there is one. Above each mark "
            "the effect in standard deviations over the runs of a group, where there are several; by "
            "example: of the paired differences."
        )
        if left:
            text += f" {left} more metrics are in the table."
        return {"differences": Picture(drawn, text)}


def require_several(members: Sequence[Any]) -> None:
    """InputError where all runs are of one group."""
    if len(members) < 2:
        raise InputError(
            "the runs form one group: with pair_on as it is, nothing is left that tells them apart"
        )


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
    name: str, rows: pd.DataFrame, runs: Sequence[Run], members: Sequence[Group]
) -> list[dict[str, Any]]:
    """One metric: every group against the first, a row each. ``rows``: those of metrics.csv, with the
    number of the run."""
    measured = measured_of(name, rows, runs, members)
    return [difference_row(measured, g, members) for g in range(1, len(members))]


def measured_of(name: str, rows: pd.DataFrame, runs: Sequence[Run], members: Sequence[Group]) -> Measured:
    place, pairs = places(members)
    values, low, high = np.full((3, len(members), pairs), np.nan)
    for row in rows.itertuples():
        at = place[id(runs[row.run])]
        values[at], low[at], high[at] = row.value, row.low, row.high
    unit, direction = rows["unit"].iloc[0], rows["direction"].iloc[0]
    return Measured(name, unit, direction, values, low, high, pairwise(values))


def difference_row(measured: Measured, g: int, members: Sequence[Group]) -> dict[str, Any]:
    """Group g against the first: a row of the table."""
    tests = measured.tests
    finite = np.isfinite(measured.values[[g, 0]])
    kept = finite & finite.all(0) if tests.n[g, 0] else finite  # where there are pairs, only these
    values, reference = (measured.values[i][side] for i, side in zip((g, 0), kept, strict=True))
    low, high, method = tests.low[g, 0], tests.high[g, 0], tests.test[g, 0]
    difference = tests.difference[g, 0]
    if len(values) == len(reference) == 1:
        low, high = ends_over_examples(measured, g, kept)
        method = OVER_EXAMPLES if np.isfinite([low, high]).any() else NO_INTERVAL
    value, reference_value = (side.mean() if len(side) else math.nan for side in (values, reference))
    better = ""
    if (low > 0 or high < 0) and measured.direction in DIRECTIONS:
        loss = DIRECTIONS[measured.direction].loss(np.array([value, reference_value]))
        if loss[0] != loss[1]:
            better = members[g if loss[0] < loss[1] else 0].name
    return {
        "metric": measured.name,
        "group": members[g].name,
        "reference": members[0].name,
        "value": value,
        "reference_value": reference_value,
        "difference": difference,
        "low": low,
        "high": high,
        "n": min(len(values), len(reference)),
        "effect": effect_size(difference, values, reference),
        "p": tests.p[g, 0],
        "p_holm": math.nan,
        "method": method,
        "better": better,
        "direction": measured.direction,
        "unit": measured.unit,
    }


def ends_over_examples(measured: Measured, g: int, kept: np.ndarray) -> tuple[float, float]:
    """The ends of the interval of the difference of the one value of group g from that of the first, of which
    ``kept (2, S)`` says the place; NaN for an end that the intervals of these leave open."""
    (value, low, high), (other, other_low, other_high) = (
        [float(numbers[i][side][0]) for numbers in (measured.values, measured.low, measured.high)]
        for i, side in zip((g, 0), kept, strict=True)
    )
    difference = value - other
    return (
        difference - math.hypot(value - low, other_high - other),
        difference + math.hypot(high - value, other - other_low),
    )


def effect_size(difference: float, values: np.ndarray, reference: np.ndarray) -> float:
    """Cohen's d: in root mean square standard deviations over runs; NaN where one side has a single run, or
    where there is no spread."""
    if min(len(values), len(reference)) < 2:
        return math.nan
    spread = math.sqrt((values.var(ddof=1) + reference.var(ddof=1)) / 2)
    return difference / spread if spread > 0 else math.nan


# ---------------------------------------------------------------- example by example
def by_example(runs: Sequence[Run], members: Sequence[Group]) -> tuple[pd.DataFrame, list[str]]:
    """Paired differences of reconstruction errors, a row for each group and measure, and what is to be said
    of them."""
    rows, notes = [], []
    try:
        tables = example_tables(runs, DIAGNOSTIC, "errors")
        rows = [
            row
            for group in members[1:]
            for measure in MEASURES
            if (row := example_row(measure, group, members[0], tables))
        ]
    except (InputError, NothingToMeasure) as error:
        notes = [f"Examples are not compared: {error}."]
    return pd.DataFrame(rows, columns=list(EXAMPLE_COLUMNS)), notes


def example_row(
    measure: str, group: Group, reference: Group, tables: dict[int, pd.DataFrame]
) -> dict[str, Any] | None:
    """One group against the reference by the column ``measure`` of the tables of their runs, averaged over
    the common seeds, or over all where there is none; None where a run lacks it."""
    paired = paired_examples((measure, measure), group, reference, tables)
    if paired is None:
        return None
    d, seeds = paired
    mean, sd = mean_interval(d), d.std(ddof=1)
    ends = mean.columns()
    return {
        "metric": MEASURES[measure],
        "group": group.name,
        "reference": reference.name,
        "difference": mean.value,
        "low": ends["low"],
        "high": ends["high"],
        "method": mean.method,
        "n": len(d),
        "seeds": seeds,
        # A constant difference has no spread but that of its digits, and so no standardised effect.
        "effect": mean.value / sd if sd > FLAT * abs(d).max() else math.nan,
        "share_lower": (d < 0).mean(),
        "direction": "lower",
    }


def example_metrics(examples: pd.DataFrame) -> dict[str, Estimate]:
    metrics = {}
    for row in examples[examples["metric"] == MEASURES["error"]].itertuples():
        estimate = Estimate.read(row.difference, row.low, row.high, row.method)
        metrics[f"error_difference.{row.group}"] = estimate
        metrics[f"error_effect.{row.group}"] = Estimate(row.effect)
    return metrics

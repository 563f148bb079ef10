"""The probability of the data under groups of runs: one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from latentrun.comparisons.base import (
    DATA,
    Comparison,
    Group,
    example_tables,
    groups,
    lots,
    matrix,
    of_most,
    paired_examples,
    reports,
)
from latentrun.diagnostics.needs import EVIDENCE
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.crossed import over_seeds_and_examples
from latentrun.functional.statistics.ranking import mean_over, moments, over_seeds, pairwise
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "likelihood"
NATS = "nats per example, mean over examples and seeds"
# What a row of the table has, in this order, by the metric of the diagnostic; of bounds that of most draws.
CORRECTED = ("elbo", "iwae", "quadrature", "log_prob")
UNCORRECTED = ("elbo_uncorrected", "iwae_uncorrected")
ORACLE = "oracle"
SAME = 1e-6  # nats: oracles nearer to each other than this are one
BEST, WORSE, BETTER, OPEN = "best", "worse", "better", "undecided"
RankBy = Literal["iwae", "elbo", "quadrature", "log_prob"]


class Evidence(Comparison):
    """Under which groups of runs are the data most probable, and how far below the data's own family do they
    stay?

    A row a group of runs that differ in the seed only, in the order in which the groups are given, by what
    the diagnostic `likelihood` measured: of the ELBO, the importance-weighted bound of most draws, log p(x)
    by quadrature or exact, the mean, median, standard deviation and 95 % interval of the mean (Student's)
    over seeds, in nats per example. Columns called `uncorrected` leave a term of the KL out and bound
    nothing; nothing is ranked by them. The last row is the ``oracle``: log p(x) of the data's own family at
    the model's sigma, whose ELBO, bound and log p(x) are one number; one row for each sigma.

    ``difference`` = group - reference, of the mean over seeds; the reference is the group with the best mean
    of ``rank_by``, or the first, of those on the same data that also agree in the settings ``within``. Its
    95 % interval holds both that over seeds (paired t where seeds are common, else Welch's) and that over
    examples (paired, matched by the row number in the source). A group is ``worse`` or ``better`` where the
    interval leaves 0 out, else ``undecided``.
    """

    requires = (EVIDENCE,)
    needs = (DIAGNOSTIC,)
    console_table = "overview"
    metrics = {
        "elbo": Metric(f"evidence lower bound, {NATS}", better="higher"),
        "iwae": Metric(f"importance-weighted bound by most draws, {NATS}", better="higher"),
        "quadrature": Metric(f"log p(x) by quadrature, {NATS}", better="higher"),
        "log_prob": Metric(f"log p(x), exact, {NATS}", better="higher"),
        "elbo_uncorrected": Metric(f"the ELBO without a term of its KL, no bound, {NATS}"),
        "iwae_uncorrected": Metric(f"as iwae, without that term, no bound, {NATS}"),
        "oracle": Metric(f"log p(x) of the data's own family at the model's sigma, {NATS}"),
        "difference": Metric(f"of what groups are ranked by, group less reference, {NATS}"),
    }

    def __init__(self, rank_by: RankBy, reference: Literal["best", "first"], within: list[str]):
        self.rank_by, self.reference, self.within = rank_by, reference, within

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        members = groups(runs)
        values = measured(runs, members)
        ranked_by = column_of(self.rank_by, list(values))
        if ranked_by is None:
            raise NothingToMeasure(f"no run has a value of {self.rank_by}")
        names = [group.name for group in members]
        summary = pd.concat([summarised(name, names, cells) for name, cells in values.items()])
        mean = np.nan_to_num(moments(values[ranked_by])[0], nan=-np.inf)
        tables, notes = paired_tables(runs, members)
        rows = pd.DataFrame(
            [
                row
                for lot in lots(members, [*DATA, *self.within]).values()
                for row in differences(lot, members, values, self._reference(lot, members, mean), tables)
            ]
        )
        oracles = oracle_rows(runs, members)
        whole = wide(summary, names, list(values), oracles)
        made = {"groups": whole, "overview": brief(whole, list(values)), "values": summary}
        made |= {"differences": rows} if len(rows) else {}
        metrics = metrics_of(summary, rows, ranked_by, oracles)
        first = (
            f"Ranked by {ranked_by}; differences are to the "
            f"{'first group' if self.reference == 'first' else 'best mean'} on the same data"
            f"{''.join(f', with the same {key}' for key in self.within)}. Nats per example with all "
            "constants."
        )
        if any(name.partition("_")[2].startswith("uncorrected") for name in values):
            notes.append("`uncorrected` columns are no bounds of anything; nothing is ranked by them.")
        lost = {name: int(np.isinf(cells).sum()) for name, cells in values.items() if np.isinf(cells).any()}
        if lost:
            listed = ", ".join(f"{name} in {count}" for name, count in lost.items())
            notes.append(
                f"Runs whose value is -inf (a draw has a prior of 0) count in medians alone: {listed}."
            )
        bounds = [name for name in values if name == "elbo" or name.removeprefix("iwae_").isdigit()]
        if bounds:
            notes.append(
                f"Of bounds ({', '.join(bounds)}) the difference is that of the bounds: a model may lie "
                "lower because its bound is looser. quadrature and log_prob are log p(x) itself."
            )
        if oracles:
            notes.append("The oracle draws the data's own family: its ELBO and its bound are its log p(x).")
        return Report(metrics, made, notes=(first, *notes))

    def _reference(self, lot: Sequence[Group], members: Sequence[Group], mean: np.ndarray) -> int:
        """The number of the group that the others of a lot are held against."""
        numbers = [members.index(group) for group in lot]
        return numbers[0] if self.reference == "first" else max(numbers, key=lambda g: mean[g])

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.evidence_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- what was measured
def column_of(quantity: str, columns: Sequence[str]) -> str | None:
    """The column of a quantity; of bounds the name ends in the number of draws.

    >>> column_of("iwae", ["elbo", "iwae_1000"])
    'iwae_1000'
    """
    return next((c for c in columns if c == quantity or c.removeprefix(f"{quantity}_").isdigit()), None)


def measured(runs: Sequence[Run], members: Sequence[Group]) -> dict[str, np.ndarray]:
    """Of every column that some run has, the values of groups by seeds ``(G, S)``, NaN where there is
    none."""
    found = {id(run): report for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)}
    values = {}
    for quantity in (*CORRECTED, *UNCORRECTED):
        cells = {key: cell for key, report in found.items() if (cell := of_most(report, quantity))}
        if cells:
            column = next(iter(cells.values()))[0]
            values[column] = matrix(members, lambda run, cells=cells: cells.get(id(run), ("", np.nan))[1])
    return values


def summarised(name: str, names: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    """A row for each group that has values: mean, median, standard deviation, interval of the mean."""
    seen, kept = over_seeds(values), np.isfinite(values).any(1)
    middle = pd.DataFrame(values).median(axis=1).to_numpy()
    columns = {
        "group": list(names),
        "quantity": name,
        "mean": seen.mean,
        "median": middle,
        "sd": seen.sd,
        "low": seen.low,
        "high": seen.high,
        "n": seen.n,
        "method": seen.method,
    }
    return pd.DataFrame(columns)[kept]


def oracle_rows(runs: Sequence[Run], members: Sequence[Group]) -> dict[str, Estimate]:
    """log p(x) of the data's own family by the name of its row: one where it is the same for all groups, else
    one for the groups that share it."""
    found = {
        id(run): report.metrics[ORACLE].value
        for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)
        if ORACLE in report.metrics
    }
    shared: dict[tuple[float, ...], list[str]] = {}
    for group in members:
        values = [found[id(run)] for run in group.runs.values() if id(run) in found]
        distinct = tuple(sorted({round(value / SAME) * SAME for value in values}))
        if distinct:
            shared.setdefault(distinct, []).append(group.name)
    if len(shared) == 1:
        return {ORACLE: mean_over(np.array(next(iter(shared))))}
    return {
        f"{ORACLE}, {apart_by(names, members) or '; '.join(names)}": mean_over(np.array(values))
        for values, names in shared.items()
    }


def apart_by(names: Sequence[str], members: Sequence[Group]) -> str:
    """The settings that the groups called ``names`` have in common, and no other group has, in words."""
    settings_of = {group.name: set(group.values.items()) for group in members}
    common = set.intersection(*(settings_of[name] for name in names))
    others = set().union(*(values for name, values in settings_of.items() if name not in names))
    return ", ".join(f"{key}={value}" for key, value in sorted(common - others, key=str))


# ---------------------------------------------------------------- the table
def wide(
    summary: pd.DataFrame, names: Sequence[str], columns: Sequence[str], oracles: dict[str, Estimate]
) -> pd.DataFrame:
    """A row a group, for each quantity its mean, median, standard deviation and interval; oracles last."""
    rows = []
    for name in names:
        row: dict[str, Any] = {"group": name, "n": 0}
        for cells in summary[summary["group"] == name].itertuples():
            row["n"] = max(row["n"], int(cells.n))
            row |= {
                cells.quantity: cells.mean,
                f"{cells.quantity}_median": cells.median,
                f"{cells.quantity}_sd": cells.sd,
                f"{cells.quantity}_low": cells.low,
                f"{cells.quantity}_high": cells.high,
            }
        rows.append(row)
    exact = [column for column in columns if "uncorrected" not in column]
    rows += [{"group": name, **dict.fromkeys(exact, oracle.value)} for name, oracle in oracles.items()]
    return pd.DataFrame(rows)


def brief(whole: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table of :func:`wide` as one reads it: of each quantity the mean, its interval, and the median."""

    def text(row: Mapping[Any, Any], name: str) -> str:
        keys = (name, f"{name}_low", f"{name}_high", f"{name}_median")
        mean, low, high, median = (float(row.get(key, np.nan)) for key in keys)
        if np.isnan(mean):
            return ""
        ends = "" if np.isnan(low) else f" [{low:.6g}, {high:.6g}]"
        return f"{mean:.6g}{ends}" + ("" if np.isnan(median) else f" {median:.6g}")

    titles = {name: f"{name}: mean [95 %] median" for name in columns}
    rows = [
        {"group": row["group"]} | {title: text(row, name) for name, title in titles.items()}
        for row in whole.to_dict("records")
    ]
    return pd.DataFrame(rows)


def paired_tables(runs: Sequence[Run], members: Sequence[Group]) -> tuple[dict[int, pd.DataFrame], list[str]]:
    """The tables of examples of the runs, those of one data set at a time, and what is to be said where they
    cannot be paired."""
    tables: dict[int, pd.DataFrame] = {}
    notes = []
    for lot in lots(members, DATA).values():
        try:
            together = [run for group in lot for run in group.runs.values()]
            tables |= example_tables(together, DIAGNOSTIC, "examples")
        except InputError as error:
            notes.append(f"Examples are not paired: {error}.")
    return tables, notes


def differences(
    lot: Sequence[Group],
    members: Sequence[Group],
    values: dict[str, np.ndarray],
    reference: int,
    tables: dict[int, pd.DataFrame],
) -> list[dict[str, Any]]:
    """A row for each group of a lot beside the reference and each quantity that both have."""
    rows, paired = [], all(id(run) in tables for group in lot for run in group.runs.values())
    for column, cells in values.items():
        tests = pairwise(cells)
        for g in (members.index(group) for group in lot):
            if g == reference or not np.isfinite(tests.difference[g, reference]):
                continue
            found = (
                paired_examples((column, column), members[g], members[reference], tables) if paired else None
            )
            e = over_seeds_and_examples(tests, g, reference, found[0] if found else None)
            rows.append(
                {
                    "metric": column,
                    "group": members[g].name,
                    "reference": members[reference].name,
                    "difference": e.value,
                    **{end: value for end, value in e.columns().items() if end != "value"},
                    "n": int(tests.n[g, reference]),
                    "effect": np.nan,
                    "method": e.method,
                    "direction": "none" if "uncorrected" in column else "higher",
                    "verdict": standing(e),
                }
            )
    return rows


def standing(difference: Estimate) -> str:
    """What a difference to the reference says of the group."""
    if difference.high is not None and difference.high < 0:
        return WORSE
    return BETTER if difference.low is not None and difference.low > 0 else OPEN


def metrics_of(
    summary: pd.DataFrame, rows: pd.DataFrame, ranked_by: str, oracles: dict[str, Estimate]
) -> dict[str, Estimate]:
    metrics = {}
    for cells in summary.itertuples():
        quantity = next(name for name in Evidence.metrics if column_of(name, [cells.quantity]))
        metrics[f"{quantity}.{cells.group}"] = Estimate.read(cells.mean, cells.low, cells.high, cells.method)
    for cells in rows[rows["metric"] == ranked_by].itertuples() if len(rows) else ():
        e = Estimate.read(cells.difference, cells.low, cells.high, cells.method)
        metrics[f"difference.{cells.group}"] = e
    for name, oracle in oracles.items():
        metrics[name.replace(f"{ORACLE}, ", f"{ORACLE}.")] = oracle
    return metrics

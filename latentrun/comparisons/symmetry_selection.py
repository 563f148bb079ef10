"""Which latent space fits the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from latentrun.comparisons.base import (
    DATA,
    Candidate,
    Comparison,
    Group,
    example_tables,
    groups,
    lots,
    matrix,
    of_most,
    over_seeds_and_examples,
    paired_examples,
    reports,
)
from latentrun.config import settings as grouping
from latentrun.config.settings import settings
from latentrun.diagnostics.needs import EVIDENCE
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.ranking import Pairs, moments, over_seeds, pairwise
from latentrun.manifolds import space
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "likelihood"
BEST, LOSES, OPEN = "best", "loses", "undecided"


@dataclass(frozen=True)
class Contest:
    """Groups of runs on one data set, ``data`` in words, ``own`` the name of the manifold the data lie on,
    None where it is not known. ``spaces``: what each group is called: its latent space, where that alone
    tells the groups apart. ``values (G, S)``: what they are ranked by, groups by seeds, ``column`` that of
    the table of examples; ``bias (G,)``: how many nats it is expected to lie below log p(x)."""

    data: str
    own: str | None
    groups: list[Group]
    spaces: list[str]
    column: str
    values: np.ndarray
    bias: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """The groups, the best mean first; those without a value last."""
        return np.argsort(-np.nan_to_num(over_seeds(self.values).mean, nan=-np.inf), kind="stable")


class SymmetrySelection(Comparison):
    """Which latent space makes the data most probable: is it the manifold that they lie on?

    Runs on the same data, in groups that differ in the latent space (or otherwise), are ranked by the mean
    over seeds of a lower bound of log p(x), as the diagnostic `likelihood` measured it. The first beats
    another where the interval of their difference, which holds both that over seeds (paired t, where seeds
    are common) and that over examples (paired by the row number in the source), lies above 0, and also above
    how far the other's bound is expected to lie below its log p(x) (to first order): a bound may be low
    because it is loose. It ``wins`` where it beats all others; that is one statement each of whose parts is
    held to 97.5 %, which needs no correction for their number. Else the selection is ``undecided``.

    ``truth`` is the setting of the data that names their own manifold; ``right``, ``wrong``, ``undecided``
    are shares of the data sets whose own manifold is among the spaces tried. Table ``confusion``: for each
    data set the winner, and in how many seeds each space was the best.
    """

    requires = (EVIDENCE,)
    needs = (DIAGNOSTIC,)
    metrics = {
        "right": Metric("share of data sets whose own manifold wins", 0, 1, "higher"),
        "wrong": Metric("share of data sets on which another space wins", 0, 1, "lower"),
        "undecided": Metric("share of data sets on which no space wins", 0, 1, "lower"),
        "lead": Metric("of the best space over the next, nats per example, mean over examples and seeds"),
    }

    def __init__(self, rank_by: Literal["iwae", "elbo", "quadrature", "log_prob"], truth: str):
        self.rank_by, self.truth = rank_by, truth

    def check(self, candidates: Sequence[Candidate]) -> None:
        super().check(candidates)
        rows = [candidate.settings for candidate in candidates]
        made = grouping.groups(rows, [candidate.name for candidate in candidates], [])
        if not any(len(rivals) > 1 for rivals in lots(made, DATA).values()):
            raise InputError("symmetry_selection: no two groups of runs are on the same data")

    # ---------------------------------------------------------------- measuring
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        members = groups(runs)
        found = {id(run): report for run, report in zip(runs, reports(runs, DIAGNOSTIC), strict=True)}
        contests = [
            self._contest(data or "the data", rivals, found)
            for data, rivals in lots(members, DATA).items()
            if len(rivals) > 1
        ]
        contests = [contest for contest in contests if np.isfinite(contest.values).any(1).sum() > 1]
        if not contests:
            raise NothingToMeasure(f"no two groups of runs on the same data have a value of {self.rank_by}")
        rankings, notes = zip(*(ranking(contest) for contest in contests), strict=True)
        confusion = pd.DataFrame(
            [confusion_row(contest, table) for contest, table in zip(contests, rankings, strict=True)]
        ).fillna({f"best.{name}": 0 for contest in contests for name in contest.spaces})
        metrics = shares(confusion)
        for contest, table in zip(contests, rankings, strict=True):
            if len(table) > 1:
                metrics[f"lead.{contest.data}"] = lead(table)
        first = (
            f"Ranked by {self.rank_by}, nats per example. Each row is held against the best of its data; it "
            "loses where the interval of the difference lies above 0 and above its own bias."
        )
        every = list(dict.fromkeys(note for some in notes for note in some))
        return Report(
            metrics, {"ranking": pd.concat(rankings), "confusion": confusion}, notes=(first, *every)
        )

    def _contest(self, data: str, rivals: list[Group], found: Mapping[int, Report]) -> Contest:
        runs = [run for group in rivals for run in group.runs.values()]
        cells = {id(run): cell for run in runs if (cell := of_most(found[id(run)], self.rank_by))}
        loose = {
            id(run): found[id(run)].metrics["bias"].value
            for run in runs
            if self.rank_by == "iwae" and "bias" in found[id(run)].metrics
        }
        text = settings(runs[0].config, runs[0].meta.get("choices", {})).get(self.truth)
        names = [next(iter(group.runs.values())).model.spaces["z"].name for group in rivals]
        return Contest(
            data=data,
            own=space(text, self.truth).name if isinstance(text, str) else None,
            groups=rivals,
            spaces=names if len(set(names)) == len(names) else [group.name for group in rivals],
            column=next(iter(cells.values()))[0] if cells else "",
            values=matrix(rivals, lambda run: cells[id(run)][1] if id(run) in cells else np.nan),
            bias=np.nan_to_num(moments(matrix(rivals, lambda run: loose.get(id(run), np.nan)))[0]),
        )

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.symmetry_selection_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- who wins
def ranking(contest: Contest) -> tuple[pd.DataFrame, list[str]]:
    """A row for each group that has a value, the best first, and what is to be said of them."""
    notes: list[str] = []
    try:
        runs = [run for group in contest.groups for run in group.runs.values()]
        tables = example_tables(runs, DIAGNOSTIC, "examples")
    except InputError as error:
        tables, notes = {}, [f"Examples are not paired: {error}."]
    seen, tests = over_seeds(contest.values), pairwise(contest.values)
    order = [g for g in contest.order if np.isfinite(seen.mean[g])]
    rows = [
        {
            "data": contest.data,
            "own": contest.own or "",
            "space": contest.spaces[g],
            "rank": rank,
            "bound": seen.mean[g],
            "low": seen.low[g],
            "high": seen.high[g],
            "seeds": int(seen.n[g]),
            "bias": contest.bias[g],
            **behind(contest, tests, order[0], g, tables),
        }
        for rank, g in enumerate(order, 1)
    ]
    return pd.DataFrame(rows), notes


def behind(
    contest: Contest, tests: Pairs, best: int, g: int, tables: Mapping[int, pd.DataFrame]
) -> dict[str, Any]:
    """How far group g lies behind the best, and what that says."""
    if g == best:
        return {"behind": 0.0, "behind_low": np.nan, "behind_high": np.nan, "method": "", "verdict": BEST}
    rival, winner = contest.groups[g], contest.groups[best]
    paired = paired_examples(contest.column, winner, rival, tables) if tables else None
    e = over_seeds_and_examples(tests, best, g, paired[0] if paired else None)
    beaten = e.low is not None and e.low > max(0.0, float(contest.bias[g]))
    return {**e.columns("behind"), "method": e.method, "verdict": LOSES if beaten else OPEN}


def winner_of(table: pd.DataFrame) -> str:
    """The space that beats all others, or that none does."""
    return str(table["space"].iloc[0]) if (table["verdict"].iloc[1:] == LOSES).all() else OPEN


def confusion_row(contest: Contest, table: pd.DataFrame) -> dict[str, Any]:
    """Of one data set: who wins, and in how many of the seeds each space had the best value."""
    full = np.isfinite(contest.values).all(0)
    best = np.nan_to_num(contest.values[:, full], nan=-np.inf).argmax(0)
    counts = np.bincount(best, minlength=len(contest.spaces))
    return {
        "data": contest.data,
        "own": contest.own or "",
        "winner": winner_of(table),
        "judged": contest.own in contest.spaces,
        **{f"best.{name}": int(count) for name, count in zip(contest.spaces, counts, strict=True)},
    }


def lead(table: pd.DataFrame) -> Estimate:
    """Of the best over the next, which is at least 0."""
    row = table.iloc[1]
    return Estimate.read(row["behind"], row["behind_low"], row["behind_high"], row["method"])


def shares(confusion: pd.DataFrame) -> dict[str, Estimate]:
    """Over the data sets whose own manifold was tried; none where there is no such data set."""
    judged = confusion[confusion["judged"]]
    if judged.empty:
        return {}
    outcomes = {
        "right": judged["winner"] == judged["own"],
        "wrong": (judged["winner"] != judged["own"]) & (judged["winner"] != OPEN),
        "undecided": judged["winner"] == OPEN,
    }
    return {name: Estimate(float(outcome.mean())) for name, outcome in outcomes.items()}

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
    paired_examples,
    reports,
)
from latentrun.config import settings as grouping
from latentrun.data.base import Oracle
from latentrun.diagnostics.needs import EVIDENCE
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.crossed import over_seeds_and_examples
from latentrun.functional.statistics.ranking import Pairs, moments, over_seeds, pairwise
from latentrun.manifolds import Manifold, is_same
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

DIAGNOSTIC = "likelihood"
BEST, LOSES, OPEN = "best", "loses", "undecided"
EXACT = ("log_prob", "quadrature")  # columns that are log p(x), and no bound of it
CLOSEST = (*EXACT, "iwae")  # log p(x) exactly, nearly, and from below
NAMES = {
    "closest": "log p(x), where it is known, else its bound by most draws",
    "iwae": "the bound of log p(x) by most draws",
    "elbo": "the ELBO",
    "quadrature": "log p(x) by quadrature",
    "log_prob": "log p(x)",
}


@dataclass(frozen=True)
class Contest:
    """Groups of runs on one data set, ``data`` in words, ``truth`` the manifold that the data lie on, None
    where it is not known. ``spaces``: what each group is called: its latent space, where that alone tells the
    groups apart. ``values (G, S)``: what they are ranked by, groups by seeds, -inf where an example is
    impossible, ``columns`` those of the tables of examples. ``slack (G,)``: by how many nats log p(x) may lie
    above what a group is ranked by: infinite of a bound."""

    data: str
    truth: Manifold | None
    groups: list[Group]
    spaces: list[str]
    columns: list[str]
    values: np.ndarray
    slack: np.ndarray

    @property
    def impossible(self) -> np.ndarray:
        """Which groups ``(G,)`` hold an example for impossible in one of their runs."""
        return np.any(np.isneginf(self.values), axis=1)

    @property
    def finite(self) -> np.ndarray:
        """The values, without those of the impossible."""
        return np.where(np.isfinite(self.values), self.values, np.nan)

    @property
    def order(self) -> list[int]:
        """The groups that have a value: the best mean over the seeds that all of them have first (over their
        own where there is none), the impossible last."""
        there = np.any(~np.isnan(self.values), axis=1)
        common = np.all(~np.isnan(self.values[there]), axis=0)
        mean = moments(self.finite[:, common] if common.any() else self.finite)[0]
        mean = np.where(self.impossible, -np.inf, np.nan_to_num(mean, nan=-np.inf))
        return [int(g) for g in np.argsort(-mean, kind="stable") if there[g]]

    @property
    def true(self) -> list[bool]:
        """Of which groups the latent space is the manifold that the data lie on."""
        return [self.truth is not None and is_same(space_of(group), self.truth) for group in self.groups]


def space_of(group: Group) -> Manifold:
    """The latent space of the runs of a group."""
    return next(iter(group.runs.values())).model.spaces["z"]


class SymmetrySelection(Comparison):
    """Which latent space makes the data most probable: is it the manifold that they lie on?

    Runs on the same data, in groups that differ in the latent space (or otherwise), are ranked by the mean
    over seeds of what the diagnostic `likelihood` measured: log p(x) where it is known (``closest``), else a
    lower bound of it. The first beats another where the interval of their difference, over seeds and over
    examples together (paired, where seeds and rows are common), lies above 0, and above what an example of
    the other moved by when its quadrature was last refined. Nothing beats a bound: it may be low because it
    is loose, and the draws that it is made of cannot tell how loose, for they know nothing of what the
    posterior leaves out (`diagnostic.likelihood.lattice` gives log p(x) itself in two and three dimensions).
    With ``rank_by`` iwae or elbo the bounds themselves are what is selected by. It wins where it beats all
    others, but for those with the same space, else the selection is ``undecided``. That a space which is not
    the most probable of G wins has a chance of at most 2.5 % (G - 1).

    ``right``, ``wrong``, ``undecided`` are shares of the data sets whose own manifold is known and is among
    the spaces tried. Table ``confusion``: for each data set the winner, and in how many seeds each space was
    the best.
    """

    requires = (EVIDENCE,)
    needs = (DIAGNOSTIC,)
    metrics = {
        "right": Metric("share of data sets whose own manifold wins", 0, 1, "higher"),
        "wrong": Metric("share of data sets on which another space wins", 0, 1, "lower"),
        "undecided": Metric("share of data sets on which no space wins", 0, 1, "lower"),
        "lead": Metric("of the best space over the next, nats per example, mean over examples and seeds"),
    }

    def __init__(self, rank_by: Literal["closest", "iwae", "elbo", "quadrature", "log_prob"]):
        self.rank_by = rank_by

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
        contests = [
            contest
            for contest in contests
            if len(contest.order) > 1 and not contest.impossible[contest.order[0]]
        ]
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
            f"Ranked by {NAMES[self.rank_by]}, nats per example. Each row is held against the best of its "
            "data; it loses where the interval of the difference lies above 0 and above its slack, by which "
            "log p(x) may exceed what it is ranked by: infinite where that is a bound."
        )
        every = list(dict.fromkeys(note for some in notes for note in some))
        return Report(
            metrics, {"ranking": pd.concat(rankings), "confusion": confusion}, notes=(first, *every)
        )

    def _contest(self, title: str, rivals: list[Group], found: Mapping[int, Report]) -> Contest:
        runs = [run for group in rivals for run in group.runs.values()]
        cells = {id(run): cell for run in runs if (cell := self._cell(found[id(run)]))}
        data = runs[0].data
        names = [space_of(group).name for group in rivals]

        return Contest(
            data=title,
            truth=data.manifold if isinstance(data, Oracle) else None,
            groups=rivals,
            spaces=names if len(set(names)) == len(names) else [group.name for group in rivals],
            columns=[
                next((cells[id(run)][0] for run in group.runs.values() if id(run) in cells), "")
                for group in rivals
            ],
            values=matrix(rivals, lambda run: cells[id(run)][1] if id(run) in cells else np.nan),
            slack=np.array(
                [
                    max(self._slack(found[id(run)], cells.get(id(run))) for run in group.runs.values())
                    for group in rivals
                ]
            ),
        )

    def _slack(self, report: Report, cell: tuple[str, float] | None) -> float:
        """By how much log p(x) of a run may lie above what it is ranked by."""
        if cell is None or self.rank_by not in ("closest", *EXACT):
            return 0.0
        if cell[0] == "quadrature":
            return report.metrics["quadrature_change"].value
        return 0.0 if cell[0] in EXACT else np.inf

    def _cell(self, report: Report) -> tuple[str, float] | None:
        """The column that a run is ranked by, and its value; None where it has none."""
        names = CLOSEST if self.rank_by == "closest" else (self.rank_by,)
        return next((cell for name in names if (cell := of_most(report, name))), None)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.comparisons.symmetry_selection_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- who wins
def ranking(contest: Contest) -> tuple[pd.DataFrame, list[str]]:
    """A row for each group that has a value, the best first, and what is to be said of them."""
    notes: list[str] = []
    try:
        every = [run for group in contest.groups for run in group.runs.values()]
        tables = example_tables(every, DIAGNOSTIC, "examples")
    except InputError as error:
        tables, notes = {}, [f"Examples are not paired: {error}."]
    seen, tests = over_seeds(contest.finite), pairwise(contest.finite)
    order = contest.order
    if (seen.n[order] == 1).any():
        notes.append("Of spaces with one run each, examples alone decide: over these trainings, not others.")
    for g in order:
        if contest.impossible[g]:
            runs = f"{np.isneginf(contest.values[g]).sum()} of {(~np.isnan(contest.values[g])).sum()}"
            notes.append(
                f"{contest.spaces[g]} on {contest.data} is ranked last: in {runs} runs it holds an example "
                "for impossible."
            )
    rows = [
        {
            "data": contest.data,
            "truth": contest.truth.name if contest.truth else "",
            "space": contest.spaces[g],
            "true": contest.true[g],
            "by": contest.columns[g],
            "rank": rank,
            "value": -np.inf if contest.impossible[g] else seen.mean[g],
            "low": np.nan if contest.impossible[g] else seen.low[g],
            "high": np.nan if contest.impossible[g] else seen.high[g],
            "seeds": int((~np.isnan(contest.values[g])).sum()),
            "slack": contest.slack[g],
            "same": is_same(space_of(contest.groups[g]), space_of(contest.groups[order[0]])),
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
        return {**Estimate(0.0).columns("behind"), "method": "", "verdict": BEST}
    if contest.impossible[g]:
        verdict = LOSES if np.isfinite(contest.slack[g]) else OPEN
        return {**Estimate(np.inf).columns("behind"), "method": "", "verdict": verdict}
    rival, winner = contest.groups[g], contest.groups[best]
    columns = contest.columns[best], contest.columns[g]
    paired = paired_examples(columns, winner, rival, tables) if tables else None
    e = over_seeds_and_examples(tests, best, g, paired[0] if paired else None)
    beaten = e.low is not None and e.low > max(0.0, float(contest.slack[g]))
    return {**e.columns("behind"), "method": e.method, "verdict": LOSES if beaten else OPEN}


def winner_of(table: pd.DataFrame) -> str:
    """The space that beats all others, or that none does."""
    beaten = (table["verdict"] == LOSES) | table["same"]
    return str(table["space"].iloc[0]) if beaten.all() else OPEN


def confusion_row(contest: Contest, table: pd.DataFrame) -> dict[str, Any]:
    """Of one data set: who wins, and in how many of the seeds each space had the best value."""
    full = ~np.isnan(contest.values).any(0)
    best = contest.values[:, full].argmax(0)
    counts = np.bincount(best, minlength=len(contest.spaces))
    winner = winner_of(table)
    return {
        "data": contest.data,
        "truth": contest.truth.name if contest.truth else "",
        "winner": winner,
        "right": winner != OPEN and bool(table["true"].iloc[0]),
        "judged": any(contest.true),
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
        "right": judged["right"],
        "wrong": ~judged["right"].astype(bool) & (judged["winner"] != OPEN),
        "undecided": judged["winner"] == OPEN,
    }
    return {name: Estimate(float(outcome.mean())) for name, outcome in outcomes.items()}

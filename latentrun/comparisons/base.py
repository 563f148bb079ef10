"""What every comparison is: a question about several finished runs, answered by a
:class:`~latentrun.types.Report`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch

from latentrun.config import settings as grouping
from latentrun.config.settings import settings
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Question
from latentrun.errors import InputError, NothingToMeasure, few, nearest
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.types import Report, Status

NO_INTERVAL = "none: one run each"
DATA = ("data",)  # runs that differ in these settings are on different data
GroupLike = TypeVar("GroupLike", "Group", grouping.Group)


@dataclass(frozen=True)
class Candidate:
    """What is clear of a run before it is trained or measured: its ``name``, its ``settings`` as rows of
    :func:`latentrun.config.settings.settings` have them, its ``data``, and the settings of the diagnostics
    that it is or will be measured by."""

    name: str
    settings: Mapping[str, Any]
    data: Dataset
    specs: Mapping[str, Mapping[str, Any]]


class Comparison(Question):
    """A callable built from config. Writes nothing, alters nothing, draws all randomness from ``noise``.

    ``requires`` holds for every run; ``needs``: options of ``diagnostic=`` whose reports it reads
    (``run.reports``), which are added to runs that lack them; ``pair_on``: keys in which the runs of a pair
    agree, beside the seed, which is the replicate.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    pair_on: Sequence[str] = ()

    def check(self, candidates: Sequence[Candidate]) -> None:
        """Hold the runs against each other before one is trained, measured or changed: InputError where they
        cannot be compared."""
        for name in self.needs:
            differing = unlike(name, candidates)
            if differing:
                raise InputError(f"{name} is measured with different settings: {differing}")

    @abstractmethod
    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        """Compare the runs, at least two; NothingToMeasure where it turns out that there is nothing."""


# ---------------------------------------------------------------- which runs belong together
@dataclass(frozen=True)
class Group:
    """Runs that differ only in seed and in what they are paired on: ``runs[pair]``. ``values``: of the keys
    that tell the groups apart."""

    name: str
    values: dict[str, Any]
    runs: dict[tuple, Run]


def groups(runs: Sequence[Run], pair_on: Sequence[str] = ()) -> list[Group]:
    """Runs by the keys that vary among them, except the seed and ``pair_on``; in the order in which they are
    given.

    See :func:`latentrun.config.settings.groups`. InputError for a key that no run has.
    """
    rows = [settings(run.config, run.meta.get("choices", {})) for run in runs]
    require_settings(pair_on, rows)
    return [
        Group(group.name, group.values, {pair: runs[number] for pair, number in group.members.items()})
        for group in grouping.groups(rows, [run.name for run in runs], pair_on)
    ]


def require_settings(keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """InputError for a key to pair on that no run has."""
    for key in keys:
        if not any(key in row for row in rows):
            known = sorted({name for row in rows for name in row})
            raise InputError(f"pair_on: no run has the setting {key!r}{nearest(key, known)}")


def lots(members: Sequence[GroupLike], keys: Sequence[str]) -> dict[str, list[GroupLike]]:
    """The groups that agree in the settings ``keys``, and in all below them (``data`` in ``data.seed``), by
    these settings in words: empty where nothing of them varies."""
    found: dict[str, list[GroupLike]] = {}
    for group in members:
        values = {
            key: value
            for key, value in group.values.items()
            if any(key == wanted or key.startswith(f"{wanted}.") for wanted in keys)
        }
        found.setdefault(", ".join(f"{key}={value}" for key, value in values.items()), []).append(group)
    return found


def places(members: Sequence[Group]) -> tuple[dict[int, tuple[int, int]], int]:
    """Where the value of each run stands in a matrix of groups by pairs, under the run's id, and how many
    pairs there are."""
    pairs = list(dict.fromkeys(pair for group in members for pair in group.runs))
    place = {
        id(run): (g, pairs.index(pair)) for g, group in enumerate(members) for pair, run in group.runs.items()
    }
    return place, len(pairs)


def matrix(members: Sequence[Group], value: Callable[[Run], float]) -> np.ndarray:
    """A value of each run as ``(G, S)``, groups by pairs, NaN where a group has no run of a pair."""
    place, pairs = places(members)
    values = np.full((len(members), pairs), np.nan)
    for group in members:
        for run in group.runs.values():
            values[place[id(run)]] = value(run)
    return values


def of_most(report: Report, metric: str) -> tuple[str, float] | None:
    """A metric as the column of a table is called, and its value; of one that is given for several numbers,
    such as `iwae.10` and `iwae.100`, that of the largest, `iwae_100`; None where the report has none."""
    if metric in report.metrics:
        return metric, report.metrics[metric].value
    numbers = [name.partition(".")[2] for name in report.metrics if name.startswith(f"{metric}.")]
    if not numbers:
        return None
    most = max(numbers, key=int)
    return f"{metric}_{most}", report.metrics[f"{metric}.{most}"].value


# ---------------------------------------------------------------- what may be compared
def measured_with(run: Run) -> dict[str, Mapping[str, Any]]:
    """The settings of the diagnostics that a run was measured by."""
    return {name: entry.get("config", {}) for name, entry in run.meta.get("diagnostics", {}).items()}


def unlike(diagnostic: str, candidates: Sequence[Candidate]) -> str | None:
    """None where all runs are measured by a diagnostic with the same settings, else in what they differ:
    ``"split is test in 'a', train in 'b'"``."""
    specs = [candidate.specs.get(diagnostic, {}) for candidate in candidates]
    for key in dict.fromkeys(key for spec in specs for key in spec):
        for candidate, spec in zip(candidates, specs, strict=True):
            if spec.get(key) != specs[0].get(key):
                first = f"{key} is {specs[0].get(key)} in {candidates[0].name!r}"
                return f"{first}, {spec.get(key)} in {candidate.name!r}"
    return None


def alike(runs: Sequence[Run], diagnostic: str) -> str | None:
    """:func:`unlike` of finished runs."""
    return unlike(diagnostic, [Candidate(run.name, {}, run.data, measured_with(run)) for run in runs])


def reports(runs: Sequence[Run], diagnostic: str) -> list[Report]:
    """What a diagnostic found about each run; InputError where a run has not been measured by it, or with
    other settings, NothingToMeasure where it found nothing to measure in one."""
    for run in runs:
        entry = run.meta.get("diagnostics", {}).get(diagnostic, {})
        if entry.get("status") == Status.SKIPPED:
            why = " ".join(entry.get("notes", ()))
            raise NothingToMeasure(f"{diagnostic} was skipped for {run.name!r}: {why}")
        if diagnostic not in run.reports:
            raise InputError(f"{run.name!r} has no {diagnostic}")
    differing = alike(runs, diagnostic)
    if differing:
        raise InputError(f"{diagnostic} was measured with different settings: {differing}")
    return [run.reports[diagnostic] for run in runs]


def positions(indices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Where the row numbers that all of ``indices`` hold are in each, in ascending order of the number: one
    array ``(n,)`` each, n may be 0. Row numbers occur once."""
    common = reduce(np.intersect1d, indices)
    orders = [np.argsort(index, kind="stable") for index in indices]
    return [
        order[np.searchsorted(index, common, sorter=order)]
        for index, order in zip(indices, orders, strict=True)
    ]


def common_rows(runs: Sequence[Run], split: str) -> list[torch.Tensor]:
    """Positions in ``split`` of each run of the rows that all runs have, in one order (see
    :func:`positions`).

    InputError where there are none, or where a row number stands for different examples.
    """
    splits = [run.data.split(split) for run in runs]
    places = [torch.from_numpy(at) for at in positions([rows.index.cpu().numpy() for rows in splits])]
    if not len(places[0]):
        raise InputError(
            f"the runs have no row of the {split} split in common: {few([run.name for run in runs])}"
        )
    first = splits[0].x[places[0]]
    for run, rows, at in zip(runs, splits, places, strict=True):
        same = rows is splits[0] or (rows.x.shape[1:] == first.shape[1:] and torch.equal(rows.x[at], first))
        if not same:
            raise InputError(
                f"the data of {run.name!r} are not those of {runs[0].name!r}: rows of the same number differ"
            )
    return places


# ---------------------------------------------------------------- example by example
def example_tables(runs: Sequence[Run], diagnostic: str, table: str) -> dict[int, pd.DataFrame]:
    """The table of a diagnostic that has a row for each example, by row number, under each run's id;
    InputError where they are not of the same examples."""
    measured = reports(runs, diagnostic)
    hashes = {run.meta.get("data_hash") for run in runs}
    if len(hashes) > 1 or None in hashes:
        # With other settings of the data, the same number must still be the same example.
        entry = runs[0].meta.get("diagnostics", {}).get(diagnostic, {})
        common_rows(runs, entry.get("config", {}).get("split", "test"))
    return {
        id(run): report.tables[table].set_index("index") for run, report in zip(runs, measured, strict=True)
    }


def paired_examples(
    columns: tuple[str, str], group: Group, reference: Group, tables: Mapping[int, pd.DataFrame]
) -> tuple[np.ndarray, int] | None:
    """Differences group - reference ``(N,)`` of a column of :func:`example_tables` each, matched by the row
    number, averaged over the common seeds first, or over all where there is none, and how many of the group
    these are; None where a run lacks its column."""
    seeds = [pair for pair in group.runs if pair in reference.runs]
    sides = [[tables[id(side.runs[pair])] for pair in seeds or side.runs] for side in (group, reference)]
    if not all(column in table for column, side in zip(columns, sides, strict=True) for table in side):
        return None
    means = [
        pd.concat([table[column] for table in side], axis=1, join="inner").mean(axis=1)
        for column, side in zip(columns, sides, strict=True)
    ]
    return (means[0] - means[1]).dropna().to_numpy(copy=True), len(sides[0])

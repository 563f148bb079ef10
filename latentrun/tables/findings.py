"""What is said of the runs of a sweep, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from latentrun.errors import InputError
from latentrun.judgement import Weight
from latentrun.store.schema import COLUMNS, read_named_table
from latentrun.system.door import Guarded

FEW = 3  # runs that are named
WEIGHTS = [str(weight) for weight in Weight]


@dataclass(frozen=True)
class Saying:
    """What a rule of a ``diagnostic`` says of ``runs``, the directories of all of which it is said: its
    ``weight``, the ``sentence`` of the first of them, and whether that of others ``differs``, by its
    numbers."""

    diagnostic: str
    weight: str
    sentence: str
    differs: bool
    runs: tuple[str, ...]

    @property
    def few(self) -> tuple[str, ...]:
        """The runs where they are few, else none."""
        return self.runs if len(self.runs) <= FEW else ()


def sayings(table: pd.DataFrame) -> list[Saying]:
    """One for each rule in a table of :func:`findings`, the weightiest first, then what is said of most
    runs."""
    said = []
    for (diagnostic, _), rows in table.groupby(["diagnostic", "finding"], sort=False):
        first = rows.iloc[0]
        weight = str(first["weight"]) if first["weight"] in WEIGHTS else str(Weight.HINT)
        runs = tuple(dict.fromkeys(map(str, rows["directory"])))
        differs = rows["sentence"].nunique() > 1
        said.append(Saying(str(diagnostic), weight, str(first["sentence"]), differs, runs))
    return sorted(said, key=lambda saying: (WEIGHTS.index(saying.weight), -len(saying.runs)))


def findings(frame: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The rows of ``tables/findings.csv`` of every run of a table (:func:`~latentrun.tables.collect.collect`)
    below ``root``, with the ``job`` and ``directory`` they are of; runs that cannot be read have none."""
    parts = [pd.DataFrame(columns=["job", "directory", *COLUMNS["findings"]])]
    jobs = frame["job"] if "job" in frame else range(len(frame))  # runs of no sweep are counted
    for job, run in zip(jobs, frame["run"], strict=True):
        try:
            rows = read_named_table(Guarded(Path(root, run)) / "tables" / "findings.csv")
        except InputError:
            continue
        if len(rows):
            parts.append(rows[list(COLUMNS["findings"])].assign(job=job, directory=run))
    filled = [part for part in parts if len(part)] or parts
    return pd.concat(filled, ignore_index=True)[list(parts[0].columns)]

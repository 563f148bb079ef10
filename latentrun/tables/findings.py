"""What is said of the runs of a sweep, as one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from latentrun.errors import InputError
from latentrun.store.schema import COLUMNS, read_named_table
from latentrun.system.door import Guarded


def findings(frame: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The rows of ``tables/findings.csv`` of every run of a table (:func:`~latentrun.tables.collect.collect`)
    below ``root``, with the ``job`` and ``directory`` they are of; runs that cannot be read have none."""
    parts = [pd.DataFrame(columns=["job", "directory", *COLUMNS["findings"]])]
    for job, run in zip(frame["job"], frame["run"], strict=True):
        try:
            rows = read_named_table(Guarded(Path(root, run)) / "tables" / "findings.csv")
        except InputError:
            continue
        if len(rows):
            parts.append(rows[list(COLUMNS["findings"])].assign(job=job, directory=run))
    filled = [part for part in parts if len(part)] or parts
    return pd.concat(filled, ignore_index=True)[list(parts[0].columns)]

"""What tells runs apart in their settings and in their making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from latentrun.comparisons.base import Comparison
from latentrun.config.settings import flatten
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Report

MAKING = (
    "versions",
    "git",
    "device",
    "threads",
    "host",
    "data_hash",
    "fit_hash",
    "reused",
)  # entries of meta.json


class ConfigDiff(Comparison):
    """In which settings, versions, code, device and data do the runs differ?

    Two tables with a row for each key in which not all runs agree and a column for each run: ``settings``
    (the options chosen and every value of the configuration) and ``making`` (versions, commit, device,
    threads, host, hash of the data and of all that fixes the fit). A key that a run has not is empty.
    """

    metrics = {
        "settings": Metric("number of settings in which the runs differ", low=0),
        "making": Metric(
            "number of differences in versions, commit, device, threads, host, data, fit", low=0
        ),
    }

    def __call__(self, runs, noise):
        names = [run.name for run in runs]
        tables = {
            "settings": differing(names, [{**chosen(run), **flatten(run.config)} for run in runs]),
            "making": differing(
                names, [flatten({key: run.meta[key] for key in MAKING if key in run.meta}) for run in runs]
            ),
        }
        notes = [
            f"The {what} of all {len(runs)} runs are the same."
            for what, table in tables.items()
            if table.empty
        ]
        return Report(
            {name: Estimate(float(len(table))) for name, table in tables.items()}, tables, notes=tuple(notes)
        )

    def plot(self, report):
        return {}


def chosen(run: Run) -> dict[str, Any]:
    """The options that were chosen of each group."""
    return {key: value for key, value in run.meta.get("choices", {}).items() if isinstance(value, str)}


def differing(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The keys in which flat rows differ: ``key`` and a column of text for each of ``names``."""
    keys = dict.fromkeys(key for row in rows for key in row)
    kept = [key for key in keys if len({(key in row, repr(row.get(key))) for row in rows}) > 1]
    columns = {
        name: [_text(row[key]) if key in row else "" for key in kept]
        for name, row in zip(names, rows, strict=True)
    }
    return pd.DataFrame({"key": kept, **columns}, dtype=str)


def _text(value: Any) -> str:
    """As YAML writes it."""
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )

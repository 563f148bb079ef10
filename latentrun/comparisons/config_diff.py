"""What tells runs apart in their settings and in their making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from latentrun.comparisons.base import Comparison
from latentrun.config.settings import flatten
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

# Entries of meta.json.
MAKING = ("versions", "git", "device", "threads", "host", "data_hash", "fit_hash", "reused")


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

    def __call__(self, runs: Sequence[Run], noise: Noise) -> Report:
        names = [run.name for run in runs]
        tables = {
            "settings": differing(names, [options_of(run) | flatten(run.config) for run in runs]),
            "making": differing(names, [flatten(making_of(run)) for run in runs]),
        }
        same = [name for name, table in tables.items() if table.empty]
        return Report(
            metrics={name: Estimate(float(len(table))) for name, table in tables.items()},
            tables=tables,
            notes=tuple(f"The {name} of all {len(runs)} runs are the same." for name in same),
        )

    def plot(self, report: Report) -> dict[str, Picture]:
        return {}


def options_of(run: Run) -> dict[str, str]:
    """The option of each group that the run was made with."""
    return {key: value for key, value in run.meta.get("choices", {}).items() if isinstance(value, str)}


def making_of(run: Run) -> dict[str, Any]:
    return {key: run.meta[key] for key in MAKING if key in run.meta}


def differing(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The keys in which flat rows differ: ``key`` and a column of text for each of ``names``."""
    keys = dict.fromkeys(key for row in rows for key in row)
    different = [key for key in keys if len({(key in row, repr(row.get(key))) for row in rows}) > 1]
    columns = {
        name: [_text(row[key]) if key in row else "" for key in different]
        for name, row in zip(names, rows, strict=True)
    }
    return pd.DataFrame({"key": different, **columns}, dtype=str)


def _text(value: Any) -> str:
    """As YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)

"""Whether the data of a run are still those that it began with, and in words how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentrun.data.base import SPLITS, Dataset, Description
from latentrun.errors import few
from latentrun.run import Run


def identity(data: Dataset) -> dict[str, Any]:
    """What meta.json keeps of the rows themselves: their digest, and their number in each split. Reads
    them."""
    return {
        "data_hash": data.digest,
        "data_rows": {name: len(data.split(name).x) for name in SPLITS},
    }


def data_changes(meta: Mapping[str, Any], data: Dataset) -> str | None:
    """How ``data`` differ from what meta.json of a run says of its data: variables, rows, values; None where
    they do not. Reads them."""
    now = identity(data)
    then = {key: meta.get(key, value) for key, value in now.items()}
    changes = []
    if "data" in meta:
        changes = variable_changes(Description.read(meta["data"], "meta.json: data"), data.describe())
    changes += row_changes(then["data_rows"], now["data_rows"])
    if now["data_hash"] != then["data_hash"]:
        digests = f"digest {now['data_hash']} instead of {then['data_hash']}"
        changes = [*(changes or ["other values"]), digests]
    return ", ".join(changes) or None


def variable_changes(then: Description, now: Description) -> list[str]:
    """What of the variables of an example, its factors included, is not as it was."""
    before, after = variables(then), variables(now)
    gone = [name for name in before if name not in after]
    added = [name for name in after if name not in before]
    other = [name for name in before if name in after and before[name] != after[name]]
    changes = []
    if now.event_shape != then.event_shape and not then.columns:
        changes.append(f"examples of shape {now.event_shape} instead of {then.event_shape}")
    for what, names in (("added", added), ("gone", gone), ("of another kind or other levels", other)):
        if names:
            changes.append(f"column{'s' * (len(names) > 1)} {few(names)} {what}")
    if not changes and list(before) != list(after):
        changes.append("columns in another order")
    return changes


def variables(description: Description) -> dict[str, tuple[Any, ...]]:
    """Kind and categories of columns and factors, by their names and in their order."""
    every = (*description.columns, *description.beside, *description.factors)
    return {variable.name: (variable.kind, tuple(variable.categories)) for variable in every}


def row_changes(then: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """What of the number of rows is not as it was."""
    if sum(now.values()) != sum(then.values()):
        return [f"{sum(now.values()):,} rows instead of {sum(then.values()):,}"]
    return [] if now == then else ["rows split otherwise"]


def cautions(run: Run) -> list[str]:
    """What is to be said of a run before its rows are used: which weights it has, and whether its data are
    still those of the training. Reads them."""
    how = data_changes(run.meta, run.data)
    changed = [] if how is None else [f"the run's data are not those it was trained on: {how}"]
    return [*run.notes, *changed]

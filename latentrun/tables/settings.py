"""What the columns of a table of runs are: settings, which of them vary, metrics and what these mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latentrun.config import settings
from latentrun.config.settings import REPLICATE
from latentrun.store.overview import meanings_of
from latentrun.store.sweep import PLAN
from latentrun.types import Meaning

ABOUT = ("run", "state", "reason")  # columns of every row
SIZES = ("parameters", "epochs")
ABSENT = ("unreadable", "missing", "skipped")  # states of jobs and directories that are no runs


def metrics_of(frame: pd.DataFrame) -> list[str]:
    """The columns that hold metrics."""
    return [name for name in frame.columns if "/" in name and pd.api.types.is_float_dtype(frame[name])]


def settings_in(frame: pd.DataFrame) -> pd.DataFrame:
    """Options and settings of the runs that have been begun and can be read, as texts to compare."""
    begun = frame[~frame["state"].isin(ABSENT)]
    names = [name for name in frame.columns if name not in (*ABOUT, *SIZES, *PLAN, *metrics_of(frame))]
    return begun[names].map(same)


def varied(frame: pd.DataFrame) -> list[str]:
    """The options and settings, seed included, in which runs differ (see
    :func:`latentrun.config.settings.varied`)."""
    return settings.varied(settings_in(frame).to_dict("records"))


def common(frame: pd.DataFrame) -> dict[str, Any]:
    """Options and settings that are the same in all runs."""
    texts = settings_in(frame)
    return {name: frame.loc[texts.index[0], name] for name in texts if texts[name].nunique() == 1}


def mixed(frame: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """The settings, but the seed and what follows it, in which runs of one group of ``keys`` differ."""
    texts = settings_in(frame)
    rows = texts.to_dict("records")
    counts = texts.groupby(list(keys)).nunique().max() if keys else texts.nunique()
    return [
        name
        for name in texts
        if name not in (*keys, REPLICATE) and counts[name] > 1 and not settings.follows_seed(name, rows)
    ]


def but_seed(keys: Sequence[str]) -> list[str]:
    """The keys that tell groups of runs apart."""
    return [key for key in keys if key != REPLICATE]


def meanings(frame: pd.DataFrame, root: str | Path = ".") -> dict[str, Meaning]:
    """What every metric means, by ``diagnostic/metric``, as the first run that has it says."""
    first = {name: frame[name].first_valid_index() for name in metrics_of(frame)}
    declared = {
        row: meanings_of(Path(root, frame.at[row, "run"]))
        for row in dict.fromkeys(first.values())
        if row is not None
    }
    return {name: declared.get(row, {}).get(name, Meaning()) for name, row in first.items()}


# ---------------------------------------------------------------- values
def same(value: Any) -> str:
    """The same text for values that mean the same: 1 and 1.0, but not 1 and true."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return "None" if value != value else repr(float(value))
    return "None" if value is None or value is pd.NA else repr(value)


def is_numeric(values: pd.Series) -> bool:
    """Whether all values are numbers (bool is none)."""
    return all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and pd.notna(value)
        for value in values
    )

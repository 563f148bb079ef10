"""Groups of runs, and their metrics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latentrun.config.settings import REPLICATE
from latentrun.functional.statistics.ranking import over_seeds
from latentrun.tables.settings import is_numeric, metrics_of, same
from latentrun.types import Meaning

SUMMARY = ("metric", "unit", "direction", "mean", "sd", "n", "low", "high", "method")


def grouped(frame: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """The different values of ``keys``, one row a group, numbers in their order, other values as they appear;
    and the number of the group of each run."""
    keys = list(keys)
    texts = frame[keys].map(same).agg(" ".join, axis=1) if keys else pd.Series("", frame.index)
    first = ~texts.duplicated()
    groups = frame.loc[first, keys]
    place = pd.Series(_order(groups), dtype=int)
    number = dict(zip(texts[first].iloc[place], place.index, strict=True))
    return groups.iloc[place].reset_index(drop=True), texts.map(number)


def _order(groups: pd.DataFrame) -> np.ndarray:
    """The places of the rows of ``groups`` in order of their first column, then of the next: numbers by size,
    other values as they appear."""
    if not len(groups.columns):
        return np.arange(len(groups))
    columns = []
    for key in groups.columns:
        values = groups[key]
        numeric = is_numeric(values.dropna())  # what is missing comes last
        columns.append(pd.to_numeric(values) if numeric else values.map(same).factorize()[0])
    return np.lexsort([np.asarray(column) for column in reversed(columns)])


def by_seed(values: pd.Series, number: pd.Series, seeds: pd.Series, groups: int) -> np.ndarray:
    """A metric as ``(G, S)``, NaN where there is none. Runs of a group with the same seed count once, with
    their mean: they are no repetitions."""
    cells = values.groupby([number, seeds]).mean().unstack()
    return cells.reindex(range(groups)).to_numpy(dtype=float)


def summarise(frame: pd.DataFrame, keys: Sequence[str], meaning: Mapping[str, Meaning]) -> pd.DataFrame:
    """Every metric over the seeds of each group: keys, ``metric``, ``unit``, ``direction``, ``mean``, ``sd``
    (divisor n - 1), ``n`` seeds, ``low`` and ``high`` of the 95 % interval of the mean and ``method``, how
    it was made, or why there is none. Groups without a value are left out."""
    groups, number = grouped(frame, keys)
    tables = []
    for name in metrics_of(frame) if REPLICATE in frame else ():
        unit, direction, share = meaning[name]
        values = by_seed(frame[name], number, frame[REPLICATE], len(groups))
        seen = over_seeds(values, share)
        columns = {
            "metric": name,
            "unit": unit,
            "direction": direction,
            "mean": seen.mean,
            "sd": seen.sd,
            "n": seen.n,
            "low": seen.low,
            "high": seen.high,
            "method": seen.method,
        }
        tables.append(groups.assign(**columns)[seen.n > 0])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*keys, *SUMMARY])


def beside(mean: float, low: float, high: float) -> str:
    """What stands behind a mean: ``± 0.1``, half of its interval; where that does not lie evenly around it
    ``[0.28, 0.99]``; nothing where there is none.

    >>> beside(2.0, 1.5, 2.5), beside(0.8, 0.2836, 0.9949), beside(1.0, float("nan"), float("nan"))
    ('± 0.5', '[0.28, 0.99]', '')
    """
    if np.isnan(low) or np.isnan(high):
        return ""
    if np.isclose(mean - low, high - mean, rtol=1e-6):
        return f"± {(high - low) / 2:.2g}"
    return f"[{low:.2g}, {high:.2g}]"
